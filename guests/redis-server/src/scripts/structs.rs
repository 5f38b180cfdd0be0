//! `struct`: Roberto Ierusalimschy's library for packing binary structures, version 0.2 with Redis' checks.

use super::format::number_argument;
use super::natives::{Answer, Native, Raise, Settings, bad_argument, integer_argument, text_argument, without_tables};
use super::value::{Value, truncated};

const INTEGER_BYTES_MAX: usize = 32;
const ALIGNMENT_MAX: usize = 8;

pub(super) const FUNCTIONS: &[Native] =
    &[without_tables("pack", pack), without_tables("unpack", unpack), without_tables("size", size)];

/// A format, read item by item.
struct Format<'a> {
    function: &'static str,
    rest: &'a [u8],
    big: bool,
    alignment: usize,
}

impl Format<'_> {
    fn new<'a>(function: &'static str, format: &'a [u8]) -> Format<'a> {
        Format { function, rest: format, big: false, alignment: 1 }
    }

    fn digits(&mut self, default: usize) -> Result<usize, Raise> {
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            return Ok(default);
        }
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        let number: Option<i32> = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        let number = number.and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| Raise::Text("integral size overflow".to_owned()))
    }

    /// The next item and its size.
    fn next(&mut self) -> Result<Option<(u8, usize)>, Raise> {
        let Some((&option, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        let size = match option {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.digits(1)?,
            b'i' | b'I' => {
                let size = self.digits(4)?;
                if size > INTEGER_BYTES_MAX {
                    return Err(Raise::Text(format!(
                        "integral size {size} is larger than limit of {INTEGER_BYTES_MAX}"
                    )));
                }
                size
            }
            _ => 0,
        };
        Ok(Some((option, size)))
    }

    fn padding(&self, length: usize, option: u8, size: usize) -> usize {
        if size == 0 || option == b'c' {
            return 0;
        }
        let size = size.min(self.alignment);
        (size - (length & (size - 1))) & (size - 1)
    }

    /// An item that changes how others are read.
    fn control(&mut self, option: u8) -> Result<(), Raise> {
        match option {
            b' ' => {}
            b'>' => self.big = true,
            b'<' => self.big = false,
            b'!' => {
                let alignment = self.digits(ALIGNMENT_MAX)?;
                if !alignment.is_power_of_two() {
                    return Err(Raise::Text(format!("alignment {alignment} is not a power of 2")));
                }
                self.alignment = alignment;
            }
            other => {
                let why = format!("invalid format option '{}'", char::from(other));
                return Err(bad_argument(self.function, 0, &why));
            }
        }
        Ok(())
    }
}

fn is_integer(option: u8) -> bool {
    matches!(option, b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I')
}

fn push_in_order(out: &mut Vec<u8>, big: bool, mut little: Vec<u8>) {
    if big {
        little.reverse();
    }
    out.extend_from_slice(&little);
}

fn pack(_: &mut Settings, arguments: &[Value]) -> Answer {
    let text = text_argument("pack", arguments, 0)?;
    let mut format = Format::new("pack", &text);
    let (mut out, mut at) = (Vec::new(), 1);
    while let Some((option, mut size)) = format.next()? {
        out.extend(std::iter::repeat_n(0, format.padding(out.len(), option, size)));
        match option {
            _ if is_integer(option) => {
                let number = number_argument("pack", arguments, at)?;
                at += 1;
                let value = if number < 0.0 { truncated(number) as u64 } else { number as u64 };
                let bytes = value.to_le_bytes();
                push_in_order(&mut out, format.big, (0..size).map(|at| bytes.get(at).copied().unwrap_or(0)).collect());
            }
            b'x' => out.push(0),
            b'f' => {
                let number = number_argument("pack", arguments, at)? as f32;
                at += 1;
                push_in_order(&mut out, format.big, number.to_le_bytes().to_vec());
            }
            b'd' => {
                let number = number_argument("pack", arguments, at)?;
                at += 1;
                push_in_order(&mut out, format.big, number.to_le_bytes().to_vec());
            }
            b'c' | b's' => {
                let text = text_argument("pack", arguments, at)?;
                at += 1;
                if size == 0 {
                    size = text.len();
                }
                let Some(taken) = text.get(..size) else { return Err(bad_argument("pack", at, "string too short")) };
                out.extend_from_slice(taken);
                if option == b's' {
                    out.push(0);
                }
            }
            other => format.control(other)?,
        }
    }
    Ok(vec![Value::Bytes(out)])
}

fn integer(bytes: &[u8], big: bool, signed: bool) -> f64 {
    let shift = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    let mut number = if big { bytes.iter().fold(0, shift) } else { bytes.iter().rev().fold(0, shift) };
    if !signed {
        return number as f64;
    }
    let bits = (bytes.len() * 8).min(64);
    if bits > 0 && bits < 64 && number >> (bits - 1) & 1 == 1 {
        number |= u64::MAX << bits;
    }
    number as i64 as f64
}

fn unpack(_: &mut Settings, arguments: &[Value]) -> Answer {
    const SHORT: &str = "data string too short";
    let (text, data) = (text_argument("unpack", arguments, 0)?, text_argument("unpack", arguments, 1)?);
    let start = if arguments.len() < 3 { 1 } else { integer_argument("unpack", arguments, 2)? };
    let start = usize::try_from(start).ok().filter(|start| *start > 0);
    let mut at = start.ok_or_else(|| bad_argument("unpack", 2, "offset must be 1 or greater"))? - 1;
    let mut format = Format::new("unpack", &text);
    let mut values = Vec::new();
    while let Some((option, mut size)) = format.next()? {
        at = at.saturating_add(format.padding(at, option, size));
        let short = || bad_argument("unpack", 1, SHORT);
        let part = |size: usize| at.checked_add(size).and_then(|end| data.get(at..end)).ok_or_else(short);
        let bytes = part(size)?;
        match option {
            _ if is_integer(option) => {
                values.push(Value::Number(integer(bytes, format.big, option.is_ascii_lowercase())))
            }
            b'x' => {}
            b'f' | b'd' => {
                let mut little = bytes.to_vec();
                if format.big {
                    little.reverse();
                }
                let number = match <[u8; 8]>::try_from(&little[..]) {
                    Ok(bytes) => f64::from_le_bytes(bytes),
                    Err(_) => f64::from(f32::from_le_bytes(little.try_into().unwrap_or_default())),
                };
                values.push(Value::Number(number));
            }
            b'c' => {
                if size == 0 {
                    let Some(Value::Number(length)) = values.pop() else {
                        return Err(Raise::Text("format 'c0' needs a previous size".to_owned()));
                    };
                    size = usize::try_from(truncated(length)).unwrap_or(usize::MAX);
                }
                values.push(Value::Bytes(part(size)?.to_vec()));
            }
            b's' => {
                let rest = data.get(at..).ok_or_else(short)?;
                let Some(length) = rest.iter().position(|byte| *byte == 0) else {
                    return Err(Raise::Text("unfinished string in data".to_owned()));
                };
                values.push(Value::Bytes(rest[..length].to_vec()));
                size = length + 1;
            }
            other => format.control(other)?,
        }
        at = at.saturating_add(size);
        if values.len() > 7000 {
            return Err(Raise::Text("stack overflow (too many results)".to_owned()));
        }
    }
    values.push(Value::Number((at + 1) as f64));
    Ok(values)
}

fn size(_: &mut Settings, arguments: &[Value]) -> Answer {
    let text = text_argument("size", arguments, 0)?;
    let mut format = Format::new("size", &text);
    let mut total: usize = 0;
    while let Some((option, size)) = format.next()? {
        total = total.saturating_add(format.padding(total, option, size));
        match option {
            b's' => return Err(bad_argument("size", 0, "variable-size format in struct.size")),
            b'c' if size == 0 => return Err(bad_argument("size", 0, "variable-length format in struct.size")),
            _ if is_integer(option) || matches!(option, b'x' | b'f' | b'd' | b'c') => {}
            other => format.control(other)?,
        }
        total = total.saturating_add(size);
    }
    Ok(vec![Value::Number(total as f64)])
}
