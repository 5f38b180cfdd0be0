//! Numbers as Redis reads and writes them.
//!
//! Invariant: [`parse_i64`] accepts exactly what [`push_i64`] writes, so that a counter has one spelling. Fractions are
//! added as decimals, exactly, where they fit; Redis rounds to its machine's `long double`.

/// A decimal integer without sign `+`, spaces or leading zeros.
pub(crate) fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] => return None,
        [b'0'] => return if negative { None } else { Some(0) },
        [b'0', ..] => return None,
        _ if digits.len() > 19 => return None,
        _ => {}
    }
    let mut value: i64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // Counted downwards, because i64::MIN has no positive twin.
        value = value.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// A decimal number without a sign, as cursors are.
pub(crate) fn parse_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Append a decimal integer.
pub(crate) fn push_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_u64(out, value.unsigned_abs());
}

/// Append a decimal number.
pub(crate) fn push_u64(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A floating-point number as Redis reads one: infinities are numbers, what overflows to one and NaN are not.
pub(crate) fn parse_f64(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let value: f64 = text.parse().ok()?;
    let overflown = value.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit());
    (!value.is_nan() && !overflown).then_some(value)
}

/// Append a floating-point number as Redis 7.2 prints it: integers as such, everything else by the shortest digits that
/// read back the same, in the layout of the fpconv library.
pub(crate) fn push_f64(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return out.extend_from_slice(b"nan");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
    }
    if value == 0.0 {
        return out.extend_from_slice(if value.is_sign_negative() { b"-0" } else { b"0" });
    }
    if value.abs() <= (i64::MAX / 2) as f64 && value.fract() == 0.0 {
        return push_i64(out, value as i64);
    }
    let text = format!("{value:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return out.extend_from_slice(text.as_bytes()) };
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |mantissa| (true, mantissa));
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    let Ok(exponent) = exponent.parse::<i32>() else { return out.extend_from_slice(text.as_bytes()) };
    if negative {
        out.push(b'-');
    }
    let count = digits.len() as i32;
    // The value is `digits` times ten to the power of `shift`.
    let shift = exponent - (count - 1);
    if shift >= 0 && exponent.abs() < count + 7 {
        out.extend_from_slice(&digits);
        out.resize(out.len() + shift as usize, b'0');
    } else if shift < 0 && (shift > -7 || exponent.abs() < 4) {
        let point = count + shift;
        if point <= 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + point.unsigned_abs() as usize, b'0');
            out.extend_from_slice(&digits);
        } else {
            out.extend_from_slice(&digits[..point as usize]);
            out.push(b'.');
            out.extend_from_slice(&digits[point as usize..]);
        }
    } else {
        out.push(digits[0]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        push_u64(out, u64::from(exponent.unsigned_abs()));
    }
}

/// Digits after the point that an exact sum keeps, as many as Redis prints.
const FRACTION_DIGITS: u32 = 17;

/// A number with a fraction, as an exact multiple of 10^-17 if it is one and fits.
enum Fraction {
    Exact(i128),
    Float(f64),
}

/// Why two fractions have no sum.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FractionError {
    /// One of them is not a number.
    NotANumber,
    /// The sum is infinite, or neither number nor infinite.
    OutOfRange,
}

/// The sum of two numbers with fractions, in its shortest decimal form without an exponent.
pub(crate) fn add_fractions(left: &[u8], right: &[u8]) -> Result<Vec<u8>, FractionError> {
    let (left, right) = (parse_fraction(left)?, parse_fraction(right)?);
    if let (Fraction::Exact(left), Fraction::Exact(right)) = (&left, &right)
        && let Some(sum) = left.checked_add(*right)
    {
        return Ok(decimal(sum));
    }
    let sum = as_float(left) + as_float(right);
    if sum.is_finite() { Ok(sum.to_string().into_bytes()) } else { Err(FractionError::OutOfRange) }
}

fn as_float(fraction: Fraction) -> f64 {
    match fraction {
        Fraction::Exact(value) => value as f64 / 10f64.powi(FRACTION_DIGITS as i32),
        Fraction::Float(value) => value,
    }
}

fn parse_fraction(text: &[u8]) -> Result<Fraction, FractionError> {
    if let Some(exact) = parse_decimal(text) {
        return Ok(Fraction::Exact(exact));
    }
    let text = std::str::from_utf8(text).map_err(|_| FractionError::NotANumber)?;
    match text.parse::<f64>() {
        Ok(value) if !value.is_nan() => Ok(Fraction::Float(value)),
        _ => Err(FractionError::NotANumber),
    }
}

fn parse_decimal(text: &[u8]) -> Option<i128> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let (whole, fraction) = (&digits[..point], digits.get(point + 1..).unwrap_or(&[]));
    // 20 whole digits and 17 of the fraction stay well below the 38 of an i128.
    if whole.len() + fraction.len() == 0 || whole.len() > 20 || fraction.len() > FRACTION_DIGITS as usize {
        return None;
    }
    let mut value: i128 = 0;
    for digit in whole.iter().chain(fraction) {
        value = value * 10 + digit.is_ascii_digit().then(|| i128::from(digit - b'0'))?;
    }
    value *= 10i128.pow(FRACTION_DIGITS - fraction.len() as u32);
    Some(if negative { -value } else { value })
}

fn decimal(value: i128) -> Vec<u8> {
    let mut out = Vec::new();
    if value < 0 {
        out.push(b'-');
    }
    let unit = 10u128.pow(FRACTION_DIGITS);
    let (whole, fraction) = (value.unsigned_abs() / unit, value.unsigned_abs() % unit);
    out.extend_from_slice(whole.to_string().as_bytes());
    if fraction != 0 {
        let digits = format!("{fraction:0width$}", width = FRACTION_DIGITS as usize);
        out.push(b'.');
        out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_spelling() {
        for value in [0, 1, -1, 10, 1234567890, i64::MAX, i64::MIN] {
            let mut text = Vec::new();
            push_i64(&mut text, value);
            assert_eq!(text, value.to_string().as_bytes());
            assert_eq!(parse_i64(&text), Some(value));
        }
        for wrong in [
            "",
            "-",
            "+1",
            " 1",
            "1 ",
            "01",
            "-0",
            "00",
            "1.0",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
        ] {
            assert_eq!(parse_i64(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert!(["", "-1", "18446744073709551616", "1x"].iter().all(|wrong| parse_u64(wrong.as_bytes()).is_none()));
    }

    #[test]
    fn floats_are_read_and_printed_as_redis_does() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (0.1, "0.1"),
            (3.5, "3.5"),
            (-1234.5678, "-1234.5678"),
            (1e15, "1000000000000000"),
            (1e17, "100000000000000000"),
            (1e19, "1e+19"),
            (1e20, "1e+20"),
            (1.5e300, "1.5e+300"),
            (0.000001, "0.000001"),
            (0.00000123, "1.23e-6"),
            (1.5e-10, "1.5e-10"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (1.0 / 3.0, "0.3333333333333333"),
        ] {
            let mut out = Vec::new();
            push_f64(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{value:e}");
        }
        assert_eq!(parse_f64(b"inf"), Some(f64::INFINITY));
        assert_eq!(parse_f64(b"-Infinity"), Some(f64::NEG_INFINITY));
        assert_eq!(parse_f64(b"1e3"), Some(1000.0));
        assert!(["nan", "", " 1", "1 ", "x", "1e400"].iter().all(|text| parse_f64(text.as_bytes()).is_none()));
    }

    #[test]
    fn fractions_add_up() {
        let sum = |left: &str, right: &str| {
            add_fractions(left.as_bytes(), right.as_bytes()).map(|sum| String::from_utf8(sum).unwrap())
        };
        for (left, right, expected) in [
            ("10.50", "0.1", "10.6"),
            ("0.1", "0.2", "0.3"),
            ("5.0e3", "2.0e2", "5200"),
            ("0", "-0.00001", "-0.00001"),
            ("3", "-3", "0"),
            ("1e20", "1", "100000000000000000000"),
            (".5", "1.", "1.5"),
        ] {
            assert_eq!(sum(left, right).as_deref(), Ok(expected), "{left} + {right}");
        }
        assert_eq!(sum("x", "1"), Err(FractionError::NotANumber));
        assert_eq!(sum("", "1"), Err(FractionError::NotANumber));
        assert_eq!(sum("nan", "1"), Err(FractionError::NotANumber));
        assert_eq!(sum("inf", "1"), Err(FractionError::OutOfRange));
    }
}
