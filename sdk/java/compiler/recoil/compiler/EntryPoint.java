package recoil.compiler;

import java.io.File;
import java.io.IOException;
import java.io.StringWriter;
import java.lang.reflect.Modifier;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

/** The main class of a component: it registers the author's class for the roles whose interfaces it implements. */
final class EntryPoint {
    private static final String NAME = "RecoilMain";
    private static final Map<String, String> ROLES = new LinkedHashMap<>();

    static {
        ROLES.put("recoil.sdk.Handler", "HandlerRole");
        ROLES.put("recoil.sdk.Timer", "TimerRole");
        ROLES.put("recoil.sdk.Listener", "ListenerRole");
        ROLES.put("recoil.sdk.HttpHandler", "HttpHandlerRole");
        ROLES.put("recoil.sdk.Admin", "AdminRole");
        ROLES.put("recoil.sdk.Scheduler", "SchedulerRole");
    }

    private EntryPoint() {
    }

    /** Writes and compiles the class into {@code folder}; answers its name. */
    static String generate(String packageClass, String classpath, Path folder) throws IOException, BuildException {
        StringBuilder exports = new StringBuilder();
        Class<?> author = load(packageClass, classpath);
        for (Map.Entry<String, String> role : ROLES.entrySet()) {
            if (implement(author, role.getKey())) {
                exports.append("        recoil.sdk.internal.").append(role.getValue()).append(".export(").append(NAME)
                        .append("::instance);\n");
            }
        }
        if (exports.isEmpty()) {
            throw new BuildException(packageClass
                    + " has no role: let it implement Handler, Timer, Listener, HttpHandler, Admin or Scheduler of recoil.sdk");
        }
        String type = author.getCanonicalName();
        String source = """
                /** Made at each build: registers %1$s for its roles. */
                public final class %2$s {
                    private static %1$s instance;

                    private %2$s() {
                    }

                    private static %1$s instance() {
                        if (instance == null) {
                            instance = new %1$s();
                        }
                        return instance;
                    }

                    public static void main(String[] arguments) {
                %3$s    }
                }
                """.formatted(type, NAME, exports);
        Path file = folder.resolve(NAME + ".java");
        Files.writeString(file, source);
        compile(file, classpath, folder);
        return NAME;
    }

    private static Class<?> load(String name, String classpath) throws IOException, BuildException {
        List<URL> urls = new ArrayList<>();
        for (String entry : classpath.split(File.pathSeparator)) {
            urls.add(new File(entry).toURI().toURL());
        }
        Class<?> author;
        try {
            author = Class.forName(name, false, new URLClassLoader(urls.toArray(new URL[0]), EntryPoint.class.getClassLoader()));
        } catch (ClassNotFoundException absent) {
            throw new BuildException("there is no class '" + name
                    + "': pom.xml's property recoil.package names the class that is the package");
        }
        boolean constructible = Modifier.isPublic(author.getModifiers()) && !Modifier.isAbstract(author.getModifiers());
        try {
            constructible &= Modifier.isPublic(author.getConstructor().getModifiers());
        } catch (NoSuchMethodException absent) {
            constructible = false;
        }
        if (!constructible || author.getCanonicalName() == null) {
            throw new BuildException(name + " cannot be made: it must be a public class with a public constructor without parameters");
        }
        return author;
    }

    private static boolean implement(Class<?> author, String role) {
        for (Class<?> type = author; type != null; type = type.getSuperclass()) {
            for (Class<?> implemented : type.getInterfaces()) {
                if (implemented.getName().equals(role) || implement(implemented, role)) {
                    return true;
                }
            }
        }
        return false;
    }

    private static void compile(Path file, String classpath, Path folder) throws IOException, BuildException {
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        if (compiler == null) {
            throw new BuildException("this Java has no compiler: a JDK is needed, not a JRE");
        }
        StringWriter messages = new StringWriter();
        List<String> options = List.of("--release", "17", "-proc:none", "-cp", classpath, "-d", folder.toString());
        try (StandardJavaFileManager files = compiler.getStandardFileManager(null, null, null)) {
            if (!compiler.getTask(messages, files, null, options, null, files.getJavaFileObjects(file)).call()) {
                throw new BuildException("the entry point does not compile: " + messages);
            }
        }
    }
}
