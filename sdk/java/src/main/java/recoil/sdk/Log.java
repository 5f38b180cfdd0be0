package recoil.sdk;

import java.io.PrintWriter;
import java.io.StringWriter;
import recoil.sdk.internal.Host;

/**
 * Lines in the package's log, which the host keeps and fills in: node, partition, call. {@code System.out} and {@code System.err} go
 * there too. In a test the lines go to standard error.
 */
public final class Log {
    /** How much a line matters. */
    public enum Level {
        /** Every step. */
        TRACE,
        /** For the author of the package. */
        DEBUG,
        /** For who runs it. */
        INFO,
        /** Something is not as it should be. */
        WARN,
        /** Something failed. */
        ERROR
    }

    private Log() {
    }

    /** Writes one line; above 8 KiB it is cut. */
    public static void write(Level level, String message) {
        Host.log(level, message);
    }

    /** For the author of the package. */
    public static void debug(String message) {
        write(Level.DEBUG, message);
    }

    /** For who runs it. */
    public static void info(String message) {
        write(Level.INFO, message);
    }

    /** Something is not as it should be. */
    public static void warn(String message) {
        write(Level.WARN, message);
    }

    /** Something failed. */
    public static void error(String message) {
        write(Level.ERROR, message);
    }

    /** Something failed, with the exception and its stack. */
    public static void error(String message, Throwable cause) {
        StringWriter text = new StringWriter();
        cause.printStackTrace(new PrintWriter(text, true));
        error(message + ": " + text.toString().stripTrailing());
    }
}
