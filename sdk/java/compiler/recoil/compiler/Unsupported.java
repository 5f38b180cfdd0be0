package recoil.compiler;

import java.util.LinkedHashMap;
import java.util.Map;
import org.teavm.dependency.AbstractDependencyListener;
import org.teavm.dependency.DependencyAgent;
import org.teavm.dependency.MethodDependency;
import org.teavm.model.CallLocation;

/** Parts of the Java class library that a package cannot have, and what to do instead, in words for its author. */
final class Unsupported extends AbstractDependencyListener {
    private static final String THREADS = "threads are not supported: an instance answers one call at a time; Router.callMany and"
            + " Router.submit overlap calls, Connection.waitAny waits for several things";
    private static final String NETWORK = "sockets are not supported: a Listener or an HttpHandler is given its connections, and a"
            + " Router reaches partitions";
    private static final String FILES = "files are not supported: Storage keeps data";
    private static final String PROCESSES = "processes are not supported";
    private static final String REFLECTION = "reflection is not supported: classes are compiled ahead of time, and only what is used";

    /** By class or package, or by method of a class that is there otherwise. */
    private static final Map<String, String> REASONS = new LinkedHashMap<>();

    static {
        for (String method : new String[] {"Thread.start", "Thread.sleep", "Thread.join", "Object.wait"}) {
            REASONS.put("java.lang." + method, THREADS);
        }
        REASONS.put("java.util.Timer.", THREADS);
        REASONS.put("java.util.concurrent.", THREADS);
        REASONS.put("java.net.", NETWORK);
        REASONS.put("javax.net.", NETWORK);
        REASONS.put("java.nio.channels.", NETWORK);
        REASONS.put("java.nio.file.", FILES);
        REASONS.put("java.lang.Process", PROCESSES);
        REASONS.put("java.lang.reflect.", REFLECTION);
    }

    /** Why {@code name}, a class or a method behind its class, is not there; null if there is nothing to say about it. */
    static String reason(String name) {
        for (Map.Entry<String, String> reason : REASONS.entrySet()) {
            if ((name + ".").startsWith(reason.getKey())) {
                return reason.getValue();
            }
        }
        return null;
    }

    @Override
    public void methodReached(DependencyAgent agent, MethodDependency method) {
        String name = method.getReference().getClassName() + "." + method.getReference().getName();
        // What is missing altogether is reported by TeaVM; these it would compile, for a host with an event loop.
        if (name.startsWith("java.lang.") && REASONS.containsKey(name) || name.startsWith("java.util.Timer.")) {
            method.addLocationListener(location -> {
                if (!isLibrary(location)) {
                    agent.getDiagnostics().error(location, name + ": " + THREADS);
                }
            });
        }
    }

    private static boolean isLibrary(CallLocation location) {
        String caller = location.getMethod().getClassName();
        return caller.startsWith("java.") || caller.startsWith("org.teavm.");
    }
}
