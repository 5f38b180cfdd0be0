package recoil.sdk.internal;

import org.teavm.backend.wasm.WasmHeap;
import org.teavm.backend.wasm.runtime.WasiBuffer;
import org.teavm.backend.wasm.runtime.WasmSupport;
import org.teavm.backend.wasm.wasi.LongResult;
import org.teavm.backend.wasm.wasi.Wasi;
import org.teavm.interop.Unmanaged;

/** What a JVM checks or computes and TeaVM's linear-memory backend does not: the compiler puts the calls in. */
final class JavaRuntime {
    /** WASI's number of the clock that only goes forward. */
    private static final int MONOTONIC = 1;

    private JavaRuntime() {
    }

    static int divide(int a, int b) {
        if (b == 0) {
            throw new ArithmeticException("/ by zero");
        }
        return b == -1 ? -a : a / b;
    }

    static int remainder(int a, int b) {
        if (b == 0) {
            throw new ArithmeticException("/ by zero");
        }
        return b == -1 ? 0 : a % b;
    }

    static long divide(long a, long b) {
        if (b == 0) {
            throw new ArithmeticException("/ by zero");
        }
        return b == -1 ? -a : a / b;
    }

    static long remainder(long a, long b) {
        if (b == 0) {
            throw new ArithmeticException("/ by zero");
        }
        return b == -1 ? 0 : a % b;
    }

    /** The length of a new array. Unchecked, a negative or huge one gives an array whose bounds are all of memory. */
    static int length(int length, int itemBytes) {
        if (length < 0) {
            throw new NegativeArraySizeException(String.valueOf(length));
        }
        if ((long) length * itemBytes > WasmHeap.maxHeapSize) {
            throw new OutOfMemoryError("an array of " + length);
        }
        return length;
    }

    /** {@code a % b} as the JLS (15.17.3) has it: exact, with the sign of the dividend. */
    static double remainder(double a, double b) {
        double x = Math.abs(a);
        double y = Math.abs(b);
        if (!(x <= Double.MAX_VALUE) || !(y > 0)) {
            return Double.NaN;
        }
        if (x < y) {
            return a;
        }
        // Multiples of y by powers of two: what is taken away is less than twice what is left, so nothing is rounded.
        double step = y;
        while (step <= x / 2) {
            step *= 2;
        }
        while (true) {
            if (step <= x) {
                x -= step;
            }
            if (step == y) {
                return a < 0 ? -x : x;
            }
            step /= 2;
        }
    }

    static float remainder(float a, float b) {
        return (float) remainder((double) a, (double) b);
    }

    /** {@link System#nanoTime}, which TeaVM's WASI lacks. */
    static long nanoTime() {
        LongResult result = WasiBuffer.getBuffer().toStructure();
        Wasi.clockTimeGet(MONOTONIC, 1, result);
        return result.value;
    }

    /** {@link System#exit} ends what there is to end: this instance, and the call it is in. */
    static void exit(int status) {
        WasmSupport.printString("System.exit: it ends this instance\n");
        Memory.trap();
    }

    /** The collector's last words. */
    @Unmanaged
    static void printOutOfMemory() {
        WasmSupport.printString("java.lang.OutOfMemoryError: it ends this instance\n");
    }
}
