//! `cjson`: Mark Pulford's lua-cjson 2.1, with its texts. Settings last for a run. Here is encoding, in [`decode`] the rest.

mod decode;

use self::decode::decode;
use super::copies::Shape;
use super::format::{general, number_argument};
use super::natives::{Answer, Native, Raise, bad_argument, text_argument, with_tables, without_tables};
use super::value::{DEPTH_MAX, Table, Value};

/// What `cjson.encode_…` and `cjson.decode_…` change.
pub(crate) struct Settings {
    sparse_convert: bool,
    sparse_ratio: f64,
    sparse_safe: f64,
    encode_depth_max: usize,
    decode_depth_max: usize,
    precision: usize,
    keep_buffer: bool,
    /// Whether NaN and infinities are written: no, yes, or as null.
    encode_invalid: Invalid,
    decode_invalid: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Invalid {
    Refused,
    Written,
    Null,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            sparse_convert: false,
            sparse_ratio: 2.0,
            sparse_safe: 10.0,
            encode_depth_max: DEPTH_MAX,
            decode_depth_max: DEPTH_MAX,
            precision: 14,
            keep_buffer: true,
            encode_invalid: Invalid::Refused,
            decode_invalid: true,
        }
    }
}

pub(super) const FUNCTIONS: &[Native] = &[
    with_tables("encode", Shape::Whole, |settings, arguments| {
        let [value] = arguments else { return Err(bad_argument("encode", 0, "expected 1 argument")) };
        let mut out = Vec::new();
        encode(&settings.json, value, 0, &mut out)?;
        Ok(vec![Value::Bytes(out)])
    }),
    without_tables("decode", |settings, arguments| {
        if arguments.len() != 1 {
            return Err(bad_argument("decode", 0, "expected 1 argument"));
        }
        let text = text_argument("decode", arguments, 0)?;
        Ok(vec![decode(&settings.json, &text)?])
    }),
    without_tables("encode_sparse_array", |settings, arguments| {
        let json = &mut settings.json;
        set_flag("encode_sparse_array", arguments, 0, &mut json.sparse_convert)?;
        set_number("encode_sparse_array", arguments, 1, (0.0, f64::from(i32::MAX)), &mut json.sparse_ratio)?;
        set_number("encode_sparse_array", arguments, 2, (0.0, f64::from(i32::MAX)), &mut json.sparse_safe)?;
        Ok(vec![Value::Boolean(json.sparse_convert), Value::Number(json.sparse_ratio), Value::Number(json.sparse_safe)])
    }),
    without_tables("encode_max_depth", |settings, arguments| {
        set_size("encode_max_depth", arguments, (1.0, f64::from(i32::MAX)), &mut settings.json.encode_depth_max)
    }),
    without_tables("decode_max_depth", |settings, arguments| {
        set_size("decode_max_depth", arguments, (1.0, f64::from(i32::MAX)), &mut settings.json.decode_depth_max)
    }),
    without_tables("encode_number_precision", |settings, arguments| {
        set_size("encode_number_precision", arguments, (1.0, 14.0), &mut settings.json.precision)
    }),
    without_tables("encode_keep_buffer", |settings, arguments| {
        set_flag("encode_keep_buffer", arguments, 0, &mut settings.json.keep_buffer)?;
        Ok(vec![Value::Boolean(settings.json.keep_buffer)])
    }),
    without_tables("encode_invalid_numbers", |settings, arguments| {
        let json = &mut settings.json;
        match arguments.first() {
            None | Some(Value::Nil) => {}
            Some(Value::Boolean(true)) => json.encode_invalid = Invalid::Written,
            Some(Value::Boolean(false)) => json.encode_invalid = Invalid::Refused,
            Some(Value::Bytes(word)) if word == b"on" => json.encode_invalid = Invalid::Written,
            Some(Value::Bytes(word)) if word == b"off" => json.encode_invalid = Invalid::Refused,
            Some(Value::Bytes(word)) if word == b"null" => json.encode_invalid = Invalid::Null,
            Some(_) => return Err(bad_argument("encode_invalid_numbers", 0, "invalid option")),
        }
        Ok(vec![match json.encode_invalid {
            Invalid::Refused => Value::Boolean(false),
            Invalid::Written => Value::Boolean(true),
            Invalid::Null => Value::text("null"),
        }])
    }),
    without_tables("decode_invalid_numbers", |settings, arguments| {
        set_flag("decode_invalid_numbers", arguments, 0, &mut settings.json.decode_invalid)?;
        Ok(vec![Value::Boolean(settings.json.decode_invalid)])
    }),
];

fn set_flag(function: &str, arguments: &[Value], at: usize, flag: &mut bool) -> Result<(), Raise> {
    match arguments.get(at) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(value)) => *flag = *value,
        Some(Value::Bytes(word)) if word == b"on" => *flag = true,
        Some(Value::Bytes(word)) if word == b"off" => *flag = false,
        Some(_) => return Err(bad_argument(function, at, "invalid option")),
    }
    Ok(())
}

fn set_number(
    function: &str,
    arguments: &[Value],
    at: usize,
    (low, high): (f64, f64),
    number: &mut f64,
) -> Result<(), Raise> {
    if !matches!(arguments.get(at), None | Some(Value::Nil)) {
        let value = number_argument(function, arguments, at)?;
        if !(low..=high).contains(&value) {
            let why = format!("expected integer between {} and {}", low as i64, high as i64);
            return Err(bad_argument(function, at, &why));
        }
        *number = value.floor();
    }
    Ok(())
}

fn set_size(function: &str, arguments: &[Value], bounds: (f64, f64), size: &mut usize) -> Answer {
    let mut number = *size as f64;
    set_number(function, arguments, 0, bounds, &mut number)?;
    *size = number as usize;
    Ok(vec![Value::Number(number)])
}

fn refused(value: &Value, why: &str) -> Raise {
    Raise::Text(format!("Cannot serialise {}: {why}", value.type_name()))
}

fn encode(settings: &Settings, value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), Raise> {
    match value {
        Value::Bytes(text) => encode_text(text, out),
        Value::Number(number) => encode_number(settings, value, *number, out)?,
        Value::Boolean(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Value::Nil | Value::Null => out.extend_from_slice(b"null"),
        Value::Other(_) => return Err(refused(value, "type not supported")),
        Value::Table(table) => {
            let depth = depth + 1;
            if depth > settings.encode_depth_max.min(DEPTH_MAX) {
                return Err(Raise::Text(format!("Cannot serialise, excessive nesting ({depth})")));
            }
            match array_length(settings, value, table)? {
                Some(length) => encode_array(settings, table, length, depth, out)?,
                None => encode_object(settings, table, depth, out)?,
            }
        }
    }
    Ok(())
}

/// The length of a table that is an array; none for one that is an object, as an empty one is.
fn array_length(settings: &Settings, value: &Value, table: &Table) -> Result<Option<usize>, Raise> {
    let mut last: f64 = 0.0;
    for (key, _) in &table.0 {
        match key {
            Value::Number(key) if *key >= 1.0 && key.floor() == *key => last = last.max(*key),
            _ => return Ok(None),
        }
    }
    let count = table.0.len() as f64;
    if settings.sparse_ratio > 0.0 && last > count * settings.sparse_ratio && last > settings.sparse_safe {
        return if settings.sparse_convert { Ok(None) } else { Err(refused(value, "excessively sparse array")) };
    }
    // With the ratio off, one key could ask for any length.
    if last > 4_000_000.0 {
        return Err(refused(value, "excessively sparse array"));
    }
    Ok((last > 0.0).then_some(last as usize))
}

fn encode_array(
    settings: &Settings,
    table: &Table,
    length: usize,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), Raise> {
    let mut elements: Vec<&Value> = vec![&Value::Nil; length];
    for (key, value) in &table.0 {
        if let Value::Number(key) = key {
            elements[*key as usize - 1] = value;
        }
    }
    out.push(b'[');
    for (at, element) in elements.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        encode(settings, element, depth, out)?;
    }
    out.push(b']');
    Ok(())
}

fn encode_object(settings: &Settings, table: &Table, depth: usize, out: &mut Vec<u8>) -> Result<(), Raise> {
    out.push(b'{');
    for (at, (key, value)) in table.0.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match key {
            Value::Number(number) => {
                out.push(b'"');
                encode_number(settings, key, *number, out)?;
                out.push(b'"');
            }
            Value::Bytes(text) => encode_text(text, out),
            _ => return Err(refused(key, "table key must be a number or string")),
        }
        out.push(b':');
        encode(settings, value, depth, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn encode_number(settings: &Settings, value: &Value, number: f64, out: &mut Vec<u8>) -> Result<(), Raise> {
    if !number.is_finite() {
        match settings.encode_invalid {
            Invalid::Refused => return Err(refused(value, "must not be NaN or Inf")),
            Invalid::Null => {
                return {
                    out.extend_from_slice(b"null");
                    Ok(())
                };
            }
            Invalid::Written if number.is_nan() => {
                return {
                    out.extend_from_slice(b"nan");
                    Ok(())
                };
            }
            Invalid::Written => {}
        }
    }
    out.extend_from_slice(general(number, settings.precision).as_bytes());
    Ok(())
}

fn encode_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'/' => out.extend_from_slice(b"\\/"),
            8 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            12 => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..=31 | 127 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            other => out.push(*other),
        }
    }
    out.push(b'"');
}
