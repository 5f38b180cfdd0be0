//! `cmsgpack`: Salvatore Sanfilippo's lua-cmsgpack 0.4, with its texts.

use super::copies::Shape;
use super::natives::{
    Answer, Native, Raise, Settings, bad_argument, integer_argument, text_argument, with_tables, without_tables,
};
use super::value::{DEPTH_MAX, Table, Value, truncated};

/// Tables nested deeper than this are packed as nil.
const NESTING_MAX: usize = 16;

pub(super) const FUNCTIONS: &[Native] = &[
    with_tables("pack", Shape::Cut(NESTING_MAX), |_, arguments| {
        if arguments.is_empty() {
            return Err(Raise::Text("bad argument #0 to 'pack' (MessagePack pack needs input.)".to_owned()));
        }
        let mut out = Vec::new();
        arguments.iter().for_each(|argument| pack(argument, 0, &mut out));
        Ok(vec![Value::Bytes(out)])
    }),
    without_tables("unpack", |_, arguments| unpack(&text_argument("unpack", arguments, 0)?, i64::MAX, 0, false)),
    without_tables("unpack_one", |_, arguments| {
        let offset = if arguments.len() < 2 { 0 } else { integer_argument("unpack_one", arguments, 1)? };
        unpack(&text_argument("unpack_one", arguments, 0)?, 1, offset, true)
    }),
    without_tables("unpack_limit", unpack_limit),
];

fn unpack_limit(_: &mut Settings, arguments: &[Value]) -> Answer {
    let text = text_argument("unpack_limit", arguments, 0)?;
    let limit = integer_argument("unpack_limit", arguments, 1)?;
    let offset = if arguments.len() < 3 { 0 } else { integer_argument("unpack_limit", arguments, 2)? };
    // A limit of zero means all, as for the library's other functions.
    let (limit, tells) = if limit == 0 && offset == 0 { (i64::MAX, false) } else { (limit, true) };
    unpack(&text, limit, offset, tells)
}

fn push_sized(out: &mut Vec<u8>, length: usize, short: Option<(usize, u8)>, codes: [Option<u8>; 3]) {
    match (short, codes) {
        (Some((below, code)), _) if length < below => out.push(code | length as u8),
        (_, [Some(code), ..]) if length <= 0xff => out.extend_from_slice(&[code, length as u8]),
        (_, [_, Some(code), _]) if length <= 0xffff => {
            out.push(code);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        (_, [_, _, code]) => {
            out.push(code.unwrap_or(0));
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

fn pack(value: &Value, level: usize, out: &mut Vec<u8>) {
    match value {
        Value::Bytes(text) => {
            push_sized(out, text.len(), Some((32, 0xa0)), [Some(0xd9), Some(0xda), Some(0xdb)]);
            out.extend_from_slice(text);
        }
        Value::Boolean(truth) => out.push(if *truth { 0xc3 } else { 0xc2 }),
        Value::Number(number) => pack_number(*number, out),
        Value::Table(table) if level < NESTING_MAX => match array_length(table) {
            Some(length) => {
                push_sized(out, length, Some((16, 0x90)), [None, Some(0xdc), Some(0xdd)]);
                table.elements().into_iter().for_each(|element| pack(element, level + 1, out));
            }
            None => {
                push_sized(out, table.0.len(), Some((16, 0x80)), [None, Some(0xde), Some(0xdf)]);
                for (key, value) in &table.0 {
                    pack(key, level + 1, out);
                    pack(value, level + 1, out);
                }
            }
        },
        _ => out.push(0xc0),
    }
}

/// The length of a table whose keys are 1, 2, … without gaps.
fn array_length(table: &Table) -> Option<usize> {
    let mut last: f64 = 0.0;
    for (key, _) in &table.0 {
        match key {
            Value::Number(key) if *key > 0.0 && key.floor() == *key => last = last.max(*key),
            _ => return None,
        }
    }
    (last == table.0.len() as f64).then_some(table.0.len())
}

fn pack_number(number: f64, out: &mut Vec<u8>) {
    let integer = truncated(number);
    if number.is_finite() && integer as f64 == number {
        return pack_integer(integer, out);
    }
    let single = number as f32;
    if f64::from(single) == number {
        out.push(0xca);
        out.extend_from_slice(&single.to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn pack_integer(number: i64, out: &mut Vec<u8>) {
    let bytes = number.to_be_bytes();
    let (code, length) = match number {
        -32..=127 => return out.push(number as u8),
        128..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -128..=-33 => (0xd0, 1),
        -32768..=-129 => (0xd1, 2),
        -2_147_483_648..=-32769 => (0xd2, 4),
        _ => (0xd3, 8),
    };
    out.push(code);
    out.extend_from_slice(&bytes[8 - length..]);
}

/// Why input cannot be unpacked.
enum Damage {
    Short,
    Format,
}

fn unpack(text: &[u8], limit: i64, offset: i64, tells_offset: bool) -> Answer {
    if limit < 0 || offset < 0 {
        let length = text.len();
        return Err(Raise::Text(format!("Invalid request to unpack with offset of {offset} and limit of {length}.")));
    }
    let Some(mut rest) = usize::try_from(offset).ok().and_then(|offset| text.get(offset..)) else {
        return Err(Raise::Text(format!("Start offset {offset} greater than input length {}.", text.len())));
    };
    let mut values = Vec::new();
    while !rest.is_empty() && (values.len() as i64) < limit {
        values.push(take(&mut rest, 0).map_err(|damage| {
            Raise::Text(match damage {
                Damage::Short => "Missing bytes in input.".to_owned(),
                Damage::Format => "Bad data format in input.".to_owned(),
            })
        })?);
        // Each is a result, for which Lua's stack must have room.
        if values.len() > 7000 {
            return Err(bad_argument(
                "unpack",
                0,
                "too many return values at once; use unpack_one or unpack_limit instead.",
            ));
        }
    }
    if tells_offset {
        let next = if rest.is_empty() { -1.0 } else { (text.len() - rest.len()) as f64 };
        values.insert(0, Value::Number(next));
    }
    Ok(values)
}

fn take_bytes<'a>(input: &mut &'a [u8], length: usize) -> Result<&'a [u8], Damage> {
    let (bytes, rest) = input.split_at_checked(length).ok_or(Damage::Short)?;
    *input = rest;
    Ok(bytes)
}

fn take_unsigned(input: &mut &[u8], length: usize) -> Result<u64, Damage> {
    Ok(take_bytes(input, length)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn take(input: &mut &[u8], depth: usize) -> Result<Value, Damage> {
    if depth > DEPTH_MAX / 4 {
        return Err(Damage::Format);
    }
    let code = take_bytes(input, 1)?[0];
    let text = |input: &mut &[u8], length: u64| Ok(Value::Bytes(take_bytes(input, length as usize)?.to_vec()));
    Ok(match code {
        0..=0x7f => Value::Number(f64::from(code)),
        0xe0..=0xff => Value::Number(f64::from(code as i8)),
        0x80..=0x8f => return take_map(input, u64::from(code & 15), depth),
        0x90..=0x9f => return take_array(input, u64::from(code & 15), depth),
        0xa0..=0xbf => return text(input, u64::from(code & 31)),
        0xc0 => Value::Nil,
        0xc2 => Value::Boolean(false),
        0xc3 => Value::Boolean(true),
        0xc4 | 0xd9 => {
            let length = take_unsigned(input, 1)?;
            return text(input, length);
        }
        0xc5 | 0xda => {
            let length = take_unsigned(input, 2)?;
            return text(input, length);
        }
        0xc6 | 0xdb => {
            let length = take_unsigned(input, 4)?;
            return text(input, length);
        }
        0xca => Value::Number(f64::from(f32::from_bits(take_unsigned(input, 4)? as u32))),
        0xcb => Value::Number(f64::from_bits(take_unsigned(input, 8)?)),
        0xcc => Value::Number(take_unsigned(input, 1)? as f64),
        0xcd => Value::Number(take_unsigned(input, 2)? as f64),
        0xce => Value::Number(take_unsigned(input, 4)? as f64),
        0xcf => Value::Number(take_unsigned(input, 8)? as f64),
        0xd0 => Value::Number(f64::from(take_unsigned(input, 1)? as i8)),
        0xd1 => Value::Number(f64::from(take_unsigned(input, 2)? as i16)),
        0xd2 => Value::Number(f64::from(take_unsigned(input, 4)? as i32)),
        0xd3 => Value::Number(take_unsigned(input, 8)? as i64 as f64),
        0xdc | 0xdd => {
            let count = take_unsigned(input, if code == 0xdc { 2 } else { 4 })?;
            return take_array(input, count, depth);
        }
        0xde | 0xdf => {
            let count = take_unsigned(input, if code == 0xde { 2 } else { 4 })?;
            return take_map(input, count, depth);
        }
        _ => return Err(Damage::Format),
    })
}

fn take_array(input: &mut &[u8], count: u64, depth: usize) -> Result<Value, Damage> {
    let mut elements = Vec::new();
    for _ in 0..count {
        elements.push(take(input, depth + 1)?);
    }
    Ok(Value::array(elements))
}

fn take_map(input: &mut &[u8], count: u64, depth: usize) -> Result<Value, Damage> {
    let mut pairs = Vec::new();
    for _ in 0..count {
        pairs.push((take(input, depth + 1)?, take(input, depth + 1)?));
    }
    Ok(Value::Table(Table(pairs)))
}
