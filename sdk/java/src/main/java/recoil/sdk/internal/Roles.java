package recoil.sdk.internal;

import org.teavm.backend.wasm.runtime.WasmSupport;
import org.teavm.interop.Address;
import org.teavm.interop.Export;
import recoil.sdk.Log;
import recoil.sdk.RecoilException;

/**
 * The exports of a component.
 *
 * <p>A component has the roles it exports, and the compiler exports what is annotated in the classes that are used: each role is a
 * class of its own, and the main class that the compiler writes uses those of the roles that the author's class implements.
 */
final class Roles {
    private static final int CAUSES_MAX = 8;
    private static final int FRAMES_MAX = 32;

    private Roles() {
    }

    /** Runs class initialisers and the main class, before any other export is called. */
    @Export(name = "_initialize")
    static void initialize() {
        WasmSupport.runWithArgs(new String[0]);
    }

    /** Ends an export that answers {@code result<_, string>}, {@code result<list<u8>, string>} or {@code result<string, string>}. */
    static int ok(byte[] answer) {
        Address result = Memory.returnArea();
        result.putByte((byte) 0);
        Abi.putBytes(result.add(4), answer);
        return Memory.answered();
    }

    /** Ends any export with an error. */
    static int failed(Throwable cause) {
        byte[] text = Abi.utf8(describe(cause));
        Address result = Memory.returnArea();
        result.putByte((byte) 1);
        Abi.putBytes(result.add(4), text);
        return Memory.answered();
    }

    /** Ends an export that has no error to answer, and with it the instance: why is in the log. */
    static int ended(Throwable cause) {
        Host.log(Log.Level.ERROR, "uncaught " + stack(cause));
        Memory.trap();
        return 0;
    }

    /** What the caller is told. What is not a refusal is a mistake of the package: its stack goes to the log. */
    private static String describe(Throwable cause) {
        if (cause instanceof RecoilException) {
            return cause.getMessage();
        }
        Host.log(Log.Level.ERROR, "uncaught " + stack(cause));
        return named(cause);
    }

    /** An exception, its causes and their frames, from the first that is the author's on: those before it are not reliable. */
    private static String stack(Throwable thrown) {
        StringBuilder text = new StringBuilder();
        Throwable cause = thrown;
        for (int depth = 0; cause != null && depth < CAUSES_MAX; depth++) {
            text.append(depth == 0 ? "" : "\ncaused by ").append(named(cause));
            boolean author = false;
            int frames = 0;
            for (StackTraceElement frame : cause.getStackTrace()) {
                author |= !frame.getClassName().startsWith("java.") && !isInternal(frame);
                if (author && !isInternal(frame) && frames++ < FRAMES_MAX) {
                    text.append("\n\tat ").append(frame);
                }
            }
            cause = cause.getCause();
        }
        return text.toString();
    }

    private static boolean isInternal(StackTraceElement frame) {
        return frame.getClassName().startsWith("recoil.sdk.internal.");
    }

    private static String named(Throwable cause) {
        String text = cause.getMessage();
        return text == null ? cause.getClass().getName() : cause.getClass().getName() + ": " + text;
    }
}
