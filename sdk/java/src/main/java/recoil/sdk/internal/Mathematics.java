package recoil.sdk.internal;

import org.teavm.interop.Unmanaged;

/**
 * The functions of {@link Math} that TeaVM's WASI takes from a host that runs JavaScript.
 *
 * <p>Kernels and coefficients are those of fdlibm, on which {@link StrictMath} is defined ("Copyright (C) 1993 by Sun Microsystems,
 * Inc. All rights reserved. Developed at SunPro, a Sun Microsystems, Inc. business. Permission to use, copy, modify, and distribute
 * this software is freely granted, provided that this notice is preserved."). Angles are reduced as Payne and Hanek do it, with
 * 192 bits of 2/pi. Errors are below one ulp, as {@link Math} asks for.
 *
 * <p>Invariant: nothing is allocated and no class needs an initialiser, because these run beneath the collector's notice.
 */
@Unmanaged
final class Mathematics {
    private static final double PI = 3.14159265358979311600e+00;
    private static final double PI_REST = 1.22464679914735317720e-16;
    private static final double HALF_PI = 1.57079632679489655800e+00;
    private static final double HALF_PI_REST = 6.12323399573676603587e-17;
    private static final double QUARTER_PI = 7.85398163397448278999e-01;
    private static final double QUARTER_PI_REST = 3.06161699786838301793e-17;
    private static final double LN_2 = 6.93147180369123816490e-01;
    private static final double LN_2_REST = 1.90821492927058770002e-10;
    private static final double TWO_54 = 1.80143985094819840000e+16;
    /** Splits a double into two halves of 26 bits. */
    private static final double SPLIT = 134_217_729;

    /** What {@link #reduce} leaves of an angle, as a sum. */
    private static double angle;
    private static double angleRest;

    private Mathematics() {
    }

    static double sin(double x) {
        return switch (reduce(x)) {
            case 0 -> kernelSin(angle, angleRest);
            case 1 -> kernelCos(angle, angleRest);
            case 2 -> -kernelSin(angle, angleRest);
            default -> -kernelCos(angle, angleRest);
        };
    }

    static double cos(double x) {
        return switch (reduce(x)) {
            case 0 -> kernelCos(angle, angleRest);
            case 1 -> -kernelSin(angle, angleRest);
            case 2 -> -kernelCos(angle, angleRest);
            default -> kernelSin(angle, angleRest);
        };
    }

    static double tan(double x) {
        boolean odd = (reduce(x) & 1) != 0;
        return kernelTan(angle, angleRest, odd);
    }

    static double asin(double x) {
        double size = Math.abs(x);
        if (size >= 1) {
            return size == 1 ? x * HALF_PI + x * HALF_PI_REST : Double.NaN;
        }
        if (size < 0.5) {
            return size < 0x1p-26 ? x : x + x * arcRatio(x * x);
        }
        double square = (1 - size) / 2;
        double root = Math.sqrt(square);
        double result;
        if (size >= 0.975) {
            result = HALF_PI - (2 * (root + root * arcRatio(square)) - HALF_PI_REST);
        } else {
            double top = truncated(root);
            double rest = (square - top * top) / (root + top);
            result = QUARTER_PI - (2 * root * arcRatio(square) - (HALF_PI_REST - 2 * rest) - (QUARTER_PI - 2 * top));
        }
        return x > 0 ? result : -result;
    }

    static double acos(double x) {
        double size = Math.abs(x);
        if (size >= 1) {
            return x == 1 ? 0 : x == -1 ? PI + 2 * HALF_PI_REST : Double.NaN;
        }
        if (size < 0.5) {
            return size < 0x1p-57 ? HALF_PI + HALF_PI_REST : HALF_PI - (x - (HALF_PI_REST - x * arcRatio(x * x)));
        }
        double square = (1 - size) / 2;
        double root = Math.sqrt(square);
        if (x < 0) {
            return PI - 2 * (root + (arcRatio(square) * root - HALF_PI_REST));
        }
        double top = truncated(root);
        return 2 * (top + (arcRatio(square) * root + (square - top * top) / (root + top)));
    }

    static double atan(double x) {
        double size = Math.abs(x);
        if (size >= 0x1p66) {
            return x > 0 ? HALF_PI + HALF_PI_REST : -HALF_PI - HALF_PI_REST;
        }
        if (size < 0x1p-27 || x != x) {
            return x;
        }
        double high;
        double low;
        double part;
        if (size < 0.4375) {
            return x - x * arcTangentRatio(x);
        } else if (size < 0.6875) {
            high = 4.63647609000806093515e-01;
            low = 2.26987774529616870924e-17;
            part = (2 * size - 1) / (2 + size);
        } else if (size < 1.1875) {
            high = QUARTER_PI;
            low = QUARTER_PI_REST;
            part = (size - 1) / (size + 1);
        } else if (size < 2.4375) {
            high = 9.82793723247329054082e-01;
            low = 1.39033110312309984516e-17;
            part = (size - 1.5) / (1 + 1.5 * size);
        } else {
            high = HALF_PI;
            low = HALF_PI_REST;
            part = -1 / size;
        }
        double result = high - (part * arcTangentRatio(part) - low - part);
        return x > 0 ? result : -result;
    }

    static double atan2(double y, double x) {
        if (x != x || y != y) {
            return Double.NaN;
        }
        boolean left = isNegative(x);
        double result;
        if (y == 0) {
            result = left ? PI : 0;
        } else if (x == 0) {
            result = HALF_PI;
        } else if (isInfinite(x)) {
            result = isInfinite(y) ? left ? 3 * QUARTER_PI : QUARTER_PI : left ? PI : 0;
        } else if (isInfinite(y)) {
            result = HALF_PI;
        } else {
            int exponents = Math.getExponent(y) - Math.getExponent(x);
            double slope = exponents > 60 ? HALF_PI + HALF_PI_REST / 2
                    : left && exponents < -60 ? 0 : atan(Math.abs(y / x));
            result = left ? PI - (slope - PI_REST) : slope;
        }
        return isNegative(y) ? -result : result;
    }

    static double exp(double x) {
        if (x != x) {
            return x;
        }
        if (x > 7.09782712893383973096e+02) {
            return Double.POSITIVE_INFINITY;
        }
        if (x < -7.45133219101941108420e+02) {
            return 0;
        }
        double size = Math.abs(x);
        if (size < 0x1p-28) {
            return 1 + x;
        }
        int power = 0;
        double high = x;
        double low = 0;
        if (size > 0.34657359027997264) { // half of ln 2
            power = size < 1.0397207708399179 ? x < 0 ? -1 : 1
                    : (int) (1.44269504088896338700e+00 * x + (x < 0 ? -0.5 : 0.5));
            high = x - power * LN_2;
            low = power * LN_2_REST;
        }
        double rest = high - low;
        double t = rest * rest;
        double c = rest - t * (1.66666666666666019037e-01 + t * (-2.77777777770155933842e-03 + t * (6.61375632143793436117e-05
                + t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08))));
        if (power == 0) {
            return 1 - (rest * c / (c - 2) - rest);
        }
        double result = 1 - (low - rest * c / (2 - c) - high);
        if (power == 1024) {
            return result * 2 * 0x1p1023;
        }
        return power >= -1021 ? result * powerOfTwo(power) : result * powerOfTwo(power + 1000) * 0x1p-1000;
    }

    static double log(double x) {
        if (x == 0) {
            return Double.NEGATIVE_INFINITY;
        }
        if (!(x > 0)) {
            return Double.NaN;
        }
        if (x == Double.POSITIVE_INFINITY) {
            return x;
        }
        int power = 0;
        double mantissa = x;
        if (x < 0x1p-1022) {
            power = -54;
            mantissa *= TWO_54;
        }
        int word = highWord(mantissa);
        power += (word >> 20) - 1023;
        word &= 0x000fffff;
        int above = word + 0x95f64 & 0x100000; // from the square root of 2 on, half the mantissa and one power more
        power += above >> 20;
        long bits = Double.doubleToRawLongBits(mantissa) & 0xffffffffL;
        double f = Double.longBitsToDouble((long) (word | above ^ 0x3ff00000) << 32 | bits) - 1;
        double high = power * LN_2;
        double low = power * LN_2_REST;
        if ((0x000fffff & 2 + word) < 3) { // |f| < 2^-20
            if (f == 0) {
                return power == 0 ? 0 : high + low;
            }
            double r = f * f * (0.5 - 0.33333333333333333 * f);
            return power == 0 ? f - r : high - (r - low - f);
        }
        double s = f / (2 + f);
        double z = s * s;
        double w = z * z;
        double odd = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
        double even = z * (6.666666666666735130e-01 + w * (2.857142874366239149e-01
                + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
        double sum = odd + even;
        if ((word - 0x6147a | 0x6b851 - word) > 0) {
            double halfSquare = 0.5 * f * f;
            return power == 0 ? f - (halfSquare - s * (halfSquare + sum))
                    : high - (halfSquare - (s * (halfSquare + sum) + low) - f);
        }
        return power == 0 ? f - s * (f - sum) : high - (s * (f - sum) - low - f);
    }

    /** Exact for powers of ten, which a quotient of logarithms is not. */
    static double log10(double x) {
        if (!(x > 0) || x == Double.POSITIVE_INFINITY) {
            return log(x);
        }
        int power = 0;
        double mantissa = x;
        if (x < 0x1p-1022) {
            power = -54;
            mantissa *= TWO_54;
        }
        power += Math.getExponent(mantissa);
        int below = power < 0 ? 1 : 0;
        // From one to two, or from a half to one below one.
        mantissa = Double.longBitsToDouble(Double.doubleToRawLongBits(mantissa) & 0x000fffffffffffffL | 1023L - below << 52);
        double powers = power + below;
        return powers * 3.69423907715893078616e-13 + 4.34294481903251816668e-01 * log(mantissa) + powers * 3.01029995663611771306e-01;
    }

    private static double kernelSin(double x, double rest) {
        if (Math.abs(x) < 0x1p-27) {
            return x;
        }
        double z = x * x;
        double v = z * x;
        double r = 8.33333333332248946124e-03 + z * (-1.98412698298579493134e-04 + z * (2.75573137070700676789e-06
                + z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)));
        return rest == 0 ? x + v * (-1.66666666666666324348e-01 + z * r)
                : x - (z * (0.5 * rest - v * r) - rest - v * -1.66666666666666324348e-01);
    }

    private static double kernelCos(double x, double rest) {
        double size = Math.abs(x);
        if (size < 0x1p-27) {
            return 1;
        }
        double z = x * x;
        double r = z * (4.16666666666666019037e-02 + z * (-1.38888888888741095749e-03 + z * (2.48015872894767294178e-05
                + z * (-2.75573143513906633035e-07 + z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11)))));
        if (size < 0.3) {
            return 1 - (0.5 * z - (z * r - x * rest));
        }
        double quarter = size > 0.78125 ? 0.28125 : Double.longBitsToDouble((long) (highWord(size) - 0x00200000) << 32);
        return 1 - quarter - (0.5 * z - quarter - (z * r - x * rest));
    }

    /** The tangent, or -1 by it. */
    private static double kernelTan(double x, double rest, boolean inverse) {
        double size = Math.abs(x);
        if (size < 0x1p-28) {
            return inverse ? -1 / x : x;
        }
        boolean large = size >= 0.6744;
        if (large) {
            double signedRest = x < 0 ? -rest : rest;
            double flipped = QUARTER_PI - size + (QUARTER_PI_REST - signedRest);
            double part = tangentPart(flipped, 0);
            double sum = flipped + part;
            double v = inverse ? -1 : 1;
            double result = v - 2 * (flipped - (sum * sum / (sum + v) - part));
            return x < 0 ? -result : result;
        }
        double part = tangentPart(x, rest);
        double sum = x + part;
        if (!inverse) {
            return sum;
        }
        double top = truncated(sum);
        double low = part - (top - x);
        double quotient = -1 / sum;
        double quotientTop = truncated(quotient);
        return quotientTop + quotient * (1 + quotientTop * top + quotientTop * low);
    }

    /** The tangent less x, for up to a quarter of pi. */
    private static double tangentPart(double x, double rest) {
        double z = x * x;
        double w = z * z;
        double odd = 1.33333333333201242699e-01 + w * (2.18694882948595424599e-02 + w * (3.59207910759131235356e-03
                + w * (5.88041240820264096874e-04 + w * (7.81794442939557092300e-05 + w * -1.85586374855275456654e-05))));
        double even = z * (5.39682539762260521377e-02 + w * (8.86323982359930005737e-03 + w * (1.45620945432529025516e-03
                + w * (2.46463134818469906812e-04 + w * (7.14072491382608190305e-05 + w * 2.59073051863633712884e-05)))));
        double s = z * x;
        return rest + z * (s * (odd + even) + rest) + 3.33333333333334091986e-01 * s;
    }

    /** (asin(x) - x) / x, of the square of x. */
    private static double arcRatio(double z) {
        double p = z * (1.66666666666666657415e-01 + z * (-3.25565818622400915405e-01 + z * (2.01212532134862925881e-01
                + z * (-4.00555345006794114027e-02 + z * (7.91534994289814532176e-04 + z * 3.47933107596021167570e-05)))));
        double q = 1 + z * (-2.40339491173441421878e+00 + z * (2.02094576023350569471e+00 + z * (-6.88283971605453293030e-01
                + z * 7.70381505559019352791e-02)));
        return p / q;
    }

    /** (x - atan(x)) / x, for up to 7/16. */
    private static double arcTangentRatio(double x) {
        double z = x * x;
        double w = z * z;
        double odd = z * (3.33333333333329318027e-01 + w * (1.42857142725034663711e-01 + w * (9.09088713343650656196e-02
                + w * (6.66107313738753120669e-02 + w * (4.97687799461593236017e-02 + w * 1.62858201153657823623e-02)))));
        double even = w * (-1.99999999998764832476e-01 + w * (-1.11111104054623557880e-01 + w * (-7.69187620504482999495e-02
                + w * (-5.83357013379057348645e-02 + w * -3.65315727442169155270e-02))));
        return odd + even;
    }

    /** The quadrant of an angle, 0 to 3; what is left of it, at most a quarter of pi either way, is in the fields. */
    private static int reduce(double x) {
        angle = x;
        angleRest = 0;
        if (Math.abs(x) <= QUARTER_PI) {
            return 0;
        }
        if (x != x || isInfinite(x)) {
            angle = Double.NaN;
            return 0;
        }
        long bits = Double.doubleToRawLongBits(x);
        long mantissa = bits & 0x000fffffffffffffL | 0x0010000000000000L;
        int exponent = (int) (bits >>> 52 & 0x7ff) - 1075;
        // x is mantissa * 2^exponent. The bits of 2/pi before this place make multiples of four turns: they do not count.
        int place = exponent - 1;
        long first = twoByPi(place);
        long second = twoByPi(place + 64);
        long third = twoByPi(place + 128);
        // The lowest 192 bits of the product: two for the quadrant, the others the fraction of a quarter turn.
        long low = mantissa * third;
        long middleCarry = unsignedHigh(mantissa, third);
        long middle = mantissa * second + middleCarry;
        long carry = Long.compareUnsigned(middle, middleCarry) < 0 ? 1 : 0;
        long high = mantissa * first + unsignedHigh(mantissa, second) + carry;
        int quadrant = (int) (high >>> 62);
        high = high << 2 | middle >>> 62;
        middle = middle << 2 | low >>> 62;
        double sign = 1;
        if (high < 0) { // more than half: it is nearer to the next quadrant
            quadrant = quadrant + 1 & 3;
            high = ~high;
            middle = ~middle;
            sign = -1;
        }
        int zeros = high == 0 ? 64 : Long.numberOfLeadingZeros(high);
        if (zeros == 64) {
            high = middle;
            middle = low;
        } else if (zeros > 0) {
            high = high << zeros | middle >>> 64 - zeros;
            middle <<= zeros;
        }
        double scale = powerOfTwo(-53 - zeros);
        double fraction = (high >>> 11) * scale;
        double fractionRest = ((high & 0x7ff) << 42 | middle >>> 22) * scale * 0x1p-53;
        if (x < 0) {
            sign = -sign;
            quadrant = -quadrant & 3;
        }
        // The fraction times half of pi, with the rest of the product by Dekker's method.
        double product = fraction * HALF_PI;
        double a = topHalf(fraction);
        double b = topHalf(HALF_PI);
        double error = a * b - product + a * (HALF_PI - b) + (fraction - a) * b + (fraction - a) * (HALF_PI - b);
        double rest = error + fraction * HALF_PI_REST + fractionRest * HALF_PI;
        double sum = product + rest;
        angle = sign * sum;
        angleRest = sign * (rest - (sum - product));
        return quadrant;
    }

    /** 64 bits of 2/pi from the bit with the weight 2^-place on; there are none before the first. */
    private static long twoByPi(int place) {
        int bit = place - 1;
        int word = bit >> 6;
        int shift = bit & 63;
        return shift == 0 ? twoByPiWord(word) : twoByPiWord(word) << shift | twoByPiWord(word + 1) >>> 64 - shift;
    }

    private static long twoByPiWord(int word) {
        return switch (word) {
            case 0 -> 0xa2f9_836e_4e44_1529L;
            case 1 -> 0xfc27_57d1_f534_ddc0L;
            case 2 -> 0xdb62_9599_3c43_9041L;
            case 3 -> 0xfe51_63ab_debb_c561L;
            case 4 -> 0xb724_6e3a_424d_d2e0L;
            case 5 -> 0x0649_2eea_09d1_921cL;
            case 6 -> 0xfe1d_eb1c_b129_a73eL;
            case 7 -> 0xe882_35f5_2ebb_4484L;
            case 8 -> 0xe99c_7026_b45f_7e41L;
            case 9 -> 0x3991_d639_8353_39f4L;
            case 10 -> 0x9c84_5f8b_bdf9_283bL;
            case 11 -> 0x1ff8_97ff_de05_980fL;
            case 12 -> 0xef2f_118b_5a0a_6d1fL;
            case 13 -> 0x6d36_7ecf_27cb_09b7L;
            case 14 -> 0x4f46_3f66_9e5f_ea2dL;
            case 15 -> 0x7527_bac7_ebe5_f17bL;
            case 16 -> 0x3d07_39f7_8a52_92eaL;
            case 17 -> 0x6bfb_5fb1_1f8d_5d08L;
            case 18 -> 0x5603_3046_fc7b_6babL;
            default -> 0;
        };
    }

    /** The upper half of the product of two unsigned numbers, the first of at most 53 bits. */
    private static long unsignedHigh(long a, long b) {
        long aHigh = a >>> 32;
        long aLow = a & 0xffffffffL;
        long bHigh = b >>> 32;
        long bLow = b & 0xffffffffL;
        long middle = aHigh * bLow + (aLow * bLow >>> 32);
        return aHigh * bHigh + (middle >>> 32) + ((middle & 0xffffffffL) + aLow * bHigh >>> 32);
    }

    private static double topHalf(double x) {
        double scaled = SPLIT * x;
        return scaled - (scaled - x);
    }

    private static double truncated(double x) {
        return Double.longBitsToDouble(Double.doubleToRawLongBits(x) & 0xffffffff00000000L);
    }

    private static int highWord(double x) {
        return (int) (Double.doubleToRawLongBits(x) >>> 32);
    }

    private static double powerOfTwo(int power) {
        return Double.longBitsToDouble((long) (power + 1023) << 52);
    }

    private static boolean isNegative(double x) {
        return Double.doubleToRawLongBits(x) < 0;
    }

    private static boolean isInfinite(double x) {
        return Math.abs(x) > Double.MAX_VALUE;
    }
}
