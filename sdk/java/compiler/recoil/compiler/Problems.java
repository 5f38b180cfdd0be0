package recoil.compiler;

import org.teavm.callgraph.CallGraph;
import org.teavm.diagnostics.DefaultProblemTextConsumer;
import org.teavm.diagnostics.Problem;
import org.teavm.model.MethodReference;
import org.teavm.tooling.TeaVMProblemRenderer;

/** What TeaVM found, in words for the author of a package. */
final class Problems {
    private final CallGraph calls;

    Problems(CallGraph calls) {
        this.calls = calls;
    }

    String describe(Problem problem) {
        DefaultProblemTextConsumer consumer = new DefaultProblemTextConsumer();
        problem.render(consumer);
        StringBuilder text = new StringBuilder(consumer.getText());
        String missing = missing(problem);
        if (missing != null) {
            String reason = Unsupported.reason(missing);
            if (reason == null && missing.startsWith("java")) {
                reason = "this part of Java's class library is not supported";
            }
            text.append(reason == null ? "" : ": " + reason);
        }
        TeaVMProblemRenderer.renderCallStack(calls, problem.getLocation(), text);
        return text.toString();
    }

    /** The class or method that was not found. */
    private static String missing(Problem problem) {
        if (!problem.getText().endsWith("was not found")) {
            return null;
        }
        Object what = problem.getParams()[0];
        return what instanceof MethodReference method ? method.getClassName() + "." + method.getName() : what.toString();
    }
}
