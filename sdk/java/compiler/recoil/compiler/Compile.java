package recoil.compiler;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.teavm.diagnostics.Problem;
import org.teavm.diagnostics.ProblemSeverity;
import org.teavm.tooling.EmptyTeaVMToolLog;
import org.teavm.tooling.TeaVMTargetType;
import org.teavm.tooling.TeaVMTool;
import org.teavm.tooling.TeaVMToolException;
import org.teavm.vm.TeaVMOptimizationLevel;

/**
 * Makes a WebAssembly module of a package's classes: {@code Compile CLASS CLASSPATH MODULE}.
 *
 * <p>It runs at build time, on a JVM. {@code CLASS} is the author's, whose interfaces are the package's roles. TeaVM compiles it and
 * what it reaches; {@link RecoilPlugin} adds what a JVM has and TeaVM's linear-memory backend does not; {@link Module} leaves in
 * the outcome only what belongs to the contract. {@code recoilctl build} makes a component of it.
 */
public final class Compile {
    /** The first heap of an instance. It grows as far as the host lets it. */
    private static final int HEAP_BYTES = 1 << 20;
    /** Half of the most memory that the host gives an instance, for the collector's work area is as large as the heap. */
    private static final int HEAP_BYTES_MAX = 512 << 20;

    private Compile() {
    }

    public static void main(String[] arguments) throws IOException, TeaVMToolException {
        if (arguments.length != 3) {
            System.err.println("usage: recoil.compiler.Compile CLASS CLASSPATH MODULE");
            System.exit(2);
        }
        try {
            compile(arguments[0], arguments[1], Path.of(arguments[2]).toAbsolutePath());
        } catch (BuildException failure) {
            System.err.println(failure.getMessage());
            System.exit(1);
        }
    }

    private static void compile(String packageClass, String classpath, Path output)
            throws IOException, TeaVMToolException, BuildException {
        Path generated = output.resolveSibling("entry");
        Files.createDirectories(generated);
        String main = EntryPoint.generate(packageClass, classpath, generated);
        List<File> path = new ArrayList<>(List.of(generated.toFile()));
        for (String entry : (classpath + File.pathSeparator + System.getProperty("java.class.path")).split(File.pathSeparator)) {
            path.add(new File(entry));
        }

        TeaVMTool tool = new TeaVMTool();
        tool.setLog(new EmptyTeaVMToolLog());
        tool.setTargetType(TeaVMTargetType.WEBASSEMBLY_WASI);
        tool.setMainClass(main);
        tool.setClassPath(path);
        tool.setClassLoader(Compile.class.getClassLoader());
        tool.setTargetDirectory(output.getParent().toFile());
        tool.setTargetFileName(output.getFileName().toString());
        tool.setOptimizationLevel(TeaVMOptimizationLevel.ADVANCED);
        tool.setObfuscated(false); // names of classes and methods, for stack traces
        tool.setStrict(true);
        tool.setMinHeapSize(HEAP_BYTES);
        tool.setMaxHeapSize(HEAP_BYTES_MAX);
        tool.generate();

        Problems problems = new Problems(tool.getDependencyInfo().getCallGraph());
        List<String> errors = new ArrayList<>();
        for (Problem problem : tool.getProblemProvider().getProblems()) {
            if (problem.getSeverity() == ProblemSeverity.ERROR) {
                errors.add(problems.describe(problem));
            }
        }
        if (!errors.isEmpty()) {
            Files.deleteIfExists(output);
            throw new BuildException("the package cannot be compiled to WebAssembly:\n" + String.join("\n", errors));
        }
        Files.write(output, Module.read(Files.readAllBytes(output)).onlyContract().write());
    }
}
