//! Numbers and texts as C's `printf` and `strtod` make them, and Lua 5.1's `string.format` and `tonumber` on top.

use super::natives::{Raise, bad_argument, text_argument};
use super::value::{Value, truncated};
use crate::numbers::push_f64;

/// The largest width or precision that a format may ask for.
const DIGITS_MAX: usize = 2;

/// The shortest text that reads back as the same number, as commands get it.
pub(crate) fn shortest(number: f64) -> Vec<u8> {
    let mut text = Vec::with_capacity(24);
    push_f64(&mut text, number);
    text
}

/// `%.{precision}g`.
pub(crate) fn general(number: f64, precision: usize) -> String {
    general_with(number, precision, false)
}

fn special(number: f64) -> Option<String> {
    let sign = if number.is_sign_negative() { "-" } else { "" };
    if number.is_nan() {
        Some(format!("{sign}nan"))
    } else if number.is_infinite() {
        Some(format!("{sign}inf"))
    } else {
        None
    }
}

/// `%.{precision}e`.
fn exponential(number: f64, precision: usize) -> String {
    let text = format!("{number:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn general_with(number: f64, precision: usize, keep_zeros: bool) -> String {
    if let Some(text) = special(number) {
        return text;
    }
    let precision = precision.max(1);
    let rounded = format!("{:.*e}", precision - 1, number);
    let exponent: i32 = rounded.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let stripped = |text: &str| {
        if keep_zeros || !text.contains('.') {
            return text.to_owned();
        }
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    if exponent < -4 || exponent >= precision as i32 {
        let text = exponential(number, precision - 1);
        let (mantissa, rest) = text.split_once('e').unwrap_or((&text, "+00"));
        format!("{}e{rest}", stripped(mantissa))
    } else {
        let decimals = (precision as i32 - 1 - exponent) as usize;
        stripped(&format!("{number:.decimals$}"))
    }
}

/// A number as C's `strtod` reads one, with nothing but white space around it.
pub(crate) fn parse_number(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.trim_matches(|letter: char| letter.is_ascii_whitespace() || letter == '\u{b}');
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let number = match hexadecimal {
        Some(digits) => parse_hexadecimal(digits)?,
        None => digits.parse().ok()?,
    };
    Some(if negative { -number } else { number })
}

fn parse_hexadecimal(text: &str) -> Option<f64> {
    let (digits, exponent) = match text.split_once(['p', 'P']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut number = 0.0;
    for digit in whole.chars() {
        number = number * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let mut place = 1.0 / 16.0;
    for digit in fraction.chars() {
        number += f64::from(digit.to_digit(16)?) * place;
        place /= 16.0;
    }
    Some(number * 2f64.powi(exponent))
}

/// `tonumber`.
pub(super) fn to_number(arguments: &[Value]) -> Result<Value, Raise> {
    let base = match arguments.get(1) {
        None | Some(Value::Nil) => 10.0,
        Some(_) => number_argument("tonumber", arguments, 1)?,
    };
    if base == 10.0 {
        return match arguments.first() {
            None => Err(bad_argument("tonumber", 0, "value expected")),
            Some(Value::Number(number)) => Ok(Value::Number(*number)),
            Some(Value::Bytes(text)) => Ok(parse_number(text).map_or(Value::Nil, Value::Number)),
            Some(_) => Ok(Value::Nil),
        };
    }
    let text = text_argument("tonumber", arguments, 0)?;
    if !(2.0..=36.0).contains(&base) {
        return Err(bad_argument("tonumber", 1, "base out of range"));
    }
    Ok(parse_in_base(&text, base as u32).map_or(Value::Nil, |number| Value::Number(number as f64)))
}

/// What C's `strtoul` makes of a text, if that is all of it.
fn parse_in_base(text: &[u8], base: u32) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.trim_matches(|letter: char| letter.is_ascii_whitespace() || letter == '\u{b}');
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let prefixed = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let digits = match prefixed {
        Some(rest) if base == 16 && !rest.is_empty() => rest,
        _ => digits,
    };
    if digits.is_empty() {
        return None;
    }
    let mut number: u64 = 0;
    let mut overflow = false;
    for letter in digits.chars() {
        let digit = letter.to_digit(base)?;
        match number.checked_mul(u64::from(base)).and_then(|number| number.checked_add(u64::from(digit))) {
            Some(larger) => number = larger,
            None => overflow = true,
        }
    }
    Some(if overflow {
        u64::MAX
    } else if negative {
        number.wrapping_neg()
    } else {
        number
    })
}

/// An argument that must be a number, or a text that reads as one.
pub(super) fn number_argument(function: &str, arguments: &[Value], at: usize) -> Result<f64, Raise> {
    let found = match arguments.get(at) {
        Some(Value::Number(number)) => return Ok(*number),
        Some(Value::Bytes(text)) => match parse_number(text) {
            Some(number) => return Ok(number),
            None => "string",
        },
        Some(other) => other.type_name(),
        None => "no value",
    };
    Err(bad_argument(function, at, &format!("number expected, got {found}")))
}

/// Flags, width and precision of one item of a format.
#[derive(Default)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

impl Spec {
    /// Takes the specification off the front.
    fn parse(format: &mut &[u8]) -> Result<Self, Raise> {
        let mut spec = Spec::default();
        let mut flags = 0;
        while let Some(flag) = format.first() {
            match flag {
                b'-' => spec.left = true,
                b'+' => spec.plus = true,
                b' ' => spec.space = true,
                b'#' => spec.alternate = true,
                b'0' => spec.zero = true,
                _ => break,
            }
            flags += 1;
            *format = &format[1..];
        }
        if flags > 5 {
            return Err(Raise::Text("invalid format (repeated flags)".to_owned()));
        }
        spec.width = take_digits(format).unwrap_or(0);
        if format.first() == Some(&b'.') {
            *format = &format[1..];
            spec.precision = Some(take_digits(format).unwrap_or(0));
        }
        if format.first().is_some_and(u8::is_ascii_digit) {
            return Err(Raise::Text("invalid format (width or precision too long)".to_owned()));
        }
        Ok(spec)
    }

    /// A number's sign and its digits, padded to the width.
    fn pad(&self, out: &mut Vec<u8>, sign: &str, digits: &str, zeros_allowed: bool) {
        let length = sign.len() + digits.len();
        let padding = self.width.saturating_sub(length);
        let fill = |out: &mut Vec<u8>, byte: u8| out.extend(std::iter::repeat_n(byte, padding));
        if !(self.left || self.zero && zeros_allowed) {
            fill(out, b' ');
        }
        out.extend_from_slice(sign.as_bytes());
        if !self.left && self.zero && zeros_allowed {
            fill(out, b'0');
        }
        out.extend_from_slice(digits.as_bytes());
        if self.left {
            fill(out, b' ');
        }
    }

    fn sign(&self, negative: bool) -> &'static str {
        match negative {
            true => "-",
            false if self.plus => "+",
            false if self.space => " ",
            false => "",
        }
    }

    fn integer(&self, out: &mut Vec<u8>, number: i64) {
        let mut digits = number.unsigned_abs().to_string();
        if let Some(precision) = self.precision {
            digits = if precision == 0 && number == 0 { String::new() } else { format!("{digits:0>precision$}") };
        }
        self.pad(out, self.sign(number < 0), &digits, self.precision.is_none());
    }

    fn unsigned(&self, out: &mut Vec<u8>, number: u64, conversion: u8) {
        let mut digits = match conversion {
            b'o' => format!("{number:o}"),
            b'x' => format!("{number:x}"),
            b'X' => format!("{number:X}"),
            _ => number.to_string(),
        };
        if let Some(precision) = self.precision {
            digits = if precision == 0 && number == 0 { String::new() } else { format!("{digits:0>precision$}") };
        }
        let prefix = match conversion {
            b'x' if self.alternate && number != 0 => "0x",
            b'X' if self.alternate && number != 0 => "0X",
            b'o' if self.alternate && !digits.starts_with('0') => {
                digits.insert(0, '0');
                ""
            }
            _ => "",
        };
        self.pad(out, prefix, &digits, self.precision.is_none());
    }

    fn float(&self, out: &mut Vec<u8>, number: f64, conversion: u8) {
        let negative = number.is_sign_negative();
        let precision = self.precision.unwrap_or(6);
        let positive = number.abs();
        let mut text = match (special(positive), conversion.to_ascii_lowercase()) {
            (Some(text), _) => text,
            (None, b'e') => exponential(positive, precision),
            (None, b'f') => format!("{positive:.precision$}"),
            (None, _) => general_with(positive, precision, self.alternate),
        };
        if self.alternate && number.is_finite() && !text.contains('.') {
            let at = text.find('e').unwrap_or(text.len());
            text.insert(at, '.');
        }
        if conversion.is_ascii_uppercase() {
            text.make_ascii_uppercase();
        }
        self.pad(out, self.sign(negative), &text, number.is_finite());
    }

    fn text(&self, out: &mut Vec<u8>, text: &[u8]) {
        if self.precision.is_none() && text.len() >= 100 {
            return out.extend_from_slice(text); // as it is, zeros and all
        }
        let mut text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        if let Some(precision) = self.precision {
            text = &text[..text.len().min(precision)];
        }
        self.bytes(out, text);
    }

    fn bytes(&self, out: &mut Vec<u8>, text: &[u8]) {
        let padding = std::iter::repeat_n(b' ', self.width.saturating_sub(text.len()));
        if self.left {
            out.extend_from_slice(text);
            out.extend(padding);
        } else {
            out.extend(padding);
            out.extend_from_slice(text);
        }
    }
}

fn take_digits(format: &mut &[u8]) -> Option<usize> {
    let length = format.iter().take(DIGITS_MAX).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = format.split_at(length);
    *format = rest;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A number as C's cast to `unsigned long` makes it on x86-64.
fn unsigned_of(number: f64) -> u64 {
    if number >= 9_223_372_036_854_775_808.0 { number as u64 } else { truncated(number) as u64 }
}

fn quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' | b'\n' => out.extend_from_slice(&[b'\\', *byte]),
            b'\r' => out.extend_from_slice(b"\\r"),
            0 => out.extend_from_slice(b"\\000"),
            other => out.push(*other),
        }
    }
    out.push(b'"');
}

/// `string.format`.
pub(super) fn format(arguments: &[Value]) -> Result<Value, Raise> {
    let format = text_argument("format", arguments, 0)?;
    let (mut rest, mut out, mut at) = (&format[..], Vec::new(), 0);
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            out.push(first);
            continue;
        }
        if rest.first() == Some(&b'%') {
            out.push(b'%');
            rest = &rest[1..];
            continue;
        }
        at += 1;
        if at >= arguments.len() {
            return Err(bad_argument("format", at, "no value"));
        }
        let spec = Spec::parse(&mut rest)?;
        let conversion = rest.first().copied().unwrap_or(0);
        rest = rest.get(1..).unwrap_or_default();
        let number = || number_argument("format", arguments, at);
        match conversion {
            b'c' => {
                let start = out.len();
                spec.bytes(&mut out, &[truncated(number()?) as u8]);
                // C's text ends at its first zero.
                let length = out[start..].iter().take_while(|byte| **byte != 0).count();
                out.truncate(start + length);
            }
            b'd' | b'i' => spec.integer(&mut out, truncated(number()?)),
            b'o' | b'u' | b'x' | b'X' => spec.unsigned(&mut out, unsigned_of(number()?), conversion),
            b'e' | b'E' | b'f' | b'g' | b'G' => spec.float(&mut out, number()?, conversion),
            b'q' => quoted(&mut out, &text_argument("format", arguments, at)?),
            b's' => spec.text(&mut out, &text_argument("format", arguments, at)?),
            other => {
                let shown = if other == 0 { String::new() } else { char::from(other).to_string() };
                return Err(Raise::Text(format!("invalid option '%{shown}' to 'format'")));
            }
        }
    }
    Ok(Value::Bytes(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    /// Fails if a number is written otherwise than by C's `%.14g` or `%.17g`.
    fn numbers_are_written_as_c_writes_them() {
        for (number, precision, text) in [
            (0.1, 14, "0.1"),
            (0.1, 17, "0.10000000000000001"),
            (1e15, 14, "1e+15"),
            (123_456_789_012_345.0, 14, "1.2345678901234e+14"),
            (100_000.0, 6, "100000"),
            (1e-5, 14, "1e-05"),
            (0.000_123, 14, "0.000123"),
            (-0.0, 14, "-0"),
            (f64::INFINITY, 14, "inf"),
            (1e100, 14, "1e+100"),
            (9.999_999_999_999_999e14, 14, "1e+15"),
        ] {
            assert_eq!(general(number, precision), text);
        }
    }

    #[test]
    /// Fails if a text is read as a number that C's `strtod` would not read whole, or the other way round.
    fn texts_are_read_as_c_reads_them() {
        for (text, number) in [
            ("0x10", Some(16.0)),
            (" 12\t", Some(12.0)),
            ("-0x1.8p1", Some(-3.0)),
            ("inf", Some(f64::INFINITY)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e", None),
            ("0x", None),
            ("", None),
            ("--1", None),
            ("1 2", None),
            ("1_0", None),
        ] {
            assert_eq!(parse_number(text.as_bytes()), number, "{text}");
        }
        assert_eq!(parse_in_base(b"-ff", 16), Some(u64::MAX - 254));
        assert_eq!(parse_in_base(b"0x1f", 16), Some(31));
        assert_eq!(parse_in_base(b"8", 8), None);
    }
}
