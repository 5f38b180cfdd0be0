package recoil.sdk.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import java.util.function.DoubleUnaryOperator;
import org.junit.jupiter.api.Test;

/** Against {@link StrictMath}, which is defined by the same algorithms: only large angles, reduced otherwise, may differ. */
class MathematicsTest {
    private static final double[] SPECIAL = {
        0, -0.0, 1, -1, 0.5, -0.5, Math.PI, Math.PI / 2, Math.PI / 4, 709.78, 710, -708.5, -745, 1e22, 0x1p-1022,
        6381956970095103.0 * 0x1p797, Double.MIN_VALUE, Double.MAX_VALUE, -Double.MAX_VALUE, Double.NaN,
        Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY,
    };

    private static void agree(String name, double ulps, DoubleUnaryOperator ours, DoubleUnaryOperator strict) {
        for (double x : SPECIAL) {
            agree(name, ulps, ours, strict, x);
        }
        Random random = new Random(1);
        for (int i = 0; i < 200_000; i++) {
            agree(name, ulps, ours, strict, random.nextDouble() * 2 - 1);
            agree(name, ulps, ours, strict, (random.nextDouble() - 0.5) * 2000);
            agree(name, ulps, ours, strict, Double.longBitsToDouble(random.nextLong()));
        }
    }

    private static void agree(String name, double ulps, DoubleUnaryOperator ours, DoubleUnaryOperator strict, double x) {
        double found = ours.applyAsDouble(x);
        double expected = strict.applyAsDouble(x);
        boolean same = Double.compare(found, expected) == 0 || Math.abs(found - expected) <= ulps * Math.ulp(expected);
        assertTrue(same, () -> name + "(" + x + ") is " + found + ", not " + expected);
    }

    @Test
    void functionsOfOneNumber() {
        agree("sin", 1, Mathematics::sin, StrictMath::sin);
        agree("cos", 1, Mathematics::cos, StrictMath::cos);
        agree("tan", 1, Mathematics::tan, StrictMath::tan);
        agree("asin", 0, Mathematics::asin, StrictMath::asin);
        agree("acos", 0, Mathematics::acos, StrictMath::acos);
        agree("atan", 0, Mathematics::atan, StrictMath::atan);
        agree("exp", 0, Mathematics::exp, StrictMath::exp);
        agree("log", 0, Mathematics::log, StrictMath::log);
        agree("log10", 0, Mathematics::log10, StrictMath::log10);
    }

    @Test
    void functionsOfTwoNumbers() {
        for (double y : SPECIAL) {
            for (double x : SPECIAL) {
                assertEquals(StrictMath.atan2(y, x), Mathematics.atan2(y, x));
                assertEquals(y % x, JavaRuntime.remainder(y, x), () -> "a remainder");
            }
        }
        Random random = new Random(1);
        for (int i = 0; i < 200_000; i++) {
            double a = Double.longBitsToDouble(random.nextLong());
            double b = i % 2 == 0 ? Double.longBitsToDouble(random.nextLong()) : a * random.nextDouble() * 1e-3;
            assertEquals(StrictMath.atan2(a, b), Mathematics.atan2(a, b));
            assertEquals(a % b, JavaRuntime.remainder(a, b), () -> a + " % " + b);
        }
    }

    @Test
    void divisionsAndArraysAreChecked() {
        assertEquals(Integer.MIN_VALUE, JavaRuntime.divide(Integer.MIN_VALUE, -1));
        assertEquals(0, JavaRuntime.remainder(Long.MIN_VALUE, -1L));
        assertEquals(-2, JavaRuntime.divide(-7, 3));
        assertEquals(-1L, JavaRuntime.remainder(-7L, 3L));
        assertEquals("/ by zero", exception(() -> JavaRuntime.divide(1, 0)).getMessage());
        assertEquals("/ by zero", exception(() -> JavaRuntime.remainder(1L, 0L)).getMessage());
        assertEquals("-1", exception(() -> JavaRuntime.length(-1, 4)).getMessage());
    }

    private static Throwable exception(Runnable runnable) {
        try {
            runnable.run();
        } catch (RuntimeException thrown) {
            return thrown;
        }
        throw new AssertionError("nothing was thrown");
    }
}
