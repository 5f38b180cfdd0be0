//! Values of scripts apart from any engine, and how replies become values and values replies.
//!
//! The conversions are Redis' own (`script_lua.c`, `redisProtocolToLuaType` and `luaReplyToRedisReply`). Invariant: nothing
//! here depends on the engine, and nothing recurses deeper than [`DEPTH_MAX`], which every engine checks when it makes a
//! [`Value`].

use std::cmp::Ordering;

use crate::numbers::{parse_f64, parse_i64};
use crate::resp::{push_array, push_bulk, push_double, push_error, push_integer, push_map, push_null, push_set};

/// How deep tables may be nested in what leaves a script.
pub(crate) const DEPTH_MAX: usize = 1000;

/// A value of a script, copied out of its engine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Nil,
    Boolean(bool),
    Number(f64),
    Bytes(Vec<u8>),
    Table(Table),
    /// `cjson.null`: a light userdata.
    Null,
    /// What has no copy: a function, a thread. The name of its type.
    Other(&'static str),
}

/// A table: its pairs in the order of `next`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Table(pub(crate) Vec<(Value, Value)>);

impl Table {
    /// The value under a text.
    pub(crate) fn field(&self, name: &str) -> &Value {
        let found = self.0.iter().find(|(key, _)| matches!(key, Value::Bytes(key) if key == name.as_bytes()));
        found.map_or(&Value::Nil, |(_, value)| value)
    }

    /// The elements from 1 to the first that is nil.
    pub(crate) fn elements(&self) -> Vec<&Value> {
        let mut numbered: Vec<(f64, &Value)> = Vec::new();
        for (key, value) in &self.0 {
            if let Value::Number(number) = key {
                numbered.push((*number, value));
            }
        }
        if numbered.windows(2).any(|pair| pair[0].0 > pair[1].0) {
            numbered.sort_by(|left, right| left.0.partial_cmp(&right.0).unwrap_or(Ordering::Equal));
        }
        let from_one = numbered.into_iter().skip_while(|(number, _)| *number < 1.0);
        from_one
            .zip(1u64..)
            .take_while(|((number, _), at)| *number == *at as f64)
            .map(|((_, value), _)| value)
            .collect()
    }
}

impl Value {
    pub(crate) fn text(text: &str) -> Self {
        Value::Bytes(text.as_bytes().to_vec())
    }

    /// A table of one field.
    pub(crate) fn single(name: &str, value: Value) -> Self {
        Value::Table(Table(vec![(Value::text(name), value)]))
    }

    /// The table of these elements.
    pub(crate) fn array(elements: impl IntoIterator<Item = Value>) -> Self {
        Value::Table(Table((1u32..).map(|at| Value::Number(f64::from(at))).zip(elements).collect()))
    }

    /// What Lua calls its type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Boolean(_) => "boolean",
            Value::Number(_) => "number",
            Value::Bytes(_) => "string",
            Value::Table(_) => "table",
            Value::Null => "userdata",
            Value::Other(name) => name,
        }
    }

    /// Bytes of a string or number, as Lua makes the one of the other.
    pub(crate) fn to_bytes(&self) -> Option<Vec<u8>> {
        match self {
            Value::Bytes(bytes) => Some(bytes.clone()),
            Value::Number(number) => Some(super::format::general(*number, 14).into_bytes()),
            _ => None,
        }
    }
}

/// A number as C's cast to `long long` makes it on the machines that Redis runs on.
pub(crate) fn truncated(number: f64) -> i64 {
    // Neither NaN nor what is out of range has a value there; the processor's is this one.
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) { number as i64 } else { i64::MIN }
}

/// A reply of a command as a script sees it; an error reply is `Err`, without its sign.
pub(crate) fn from_reply(reply: &[u8], resp3: bool) -> Result<Value, String> {
    let mut input = reply;
    match reply.first() {
        Some(b'-') => Err(String::from_utf8_lossy(take_line(&mut input).unwrap_or_default()).into_owned()),
        _ => take(&mut input, resp3).ok_or_else(|| "ERR a command's reply cannot be read".to_owned()),
    }
}

/// Take a line without its kind.
fn take_line<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = input.windows(2).position(|pair| pair == b"\r\n")?;
    let line = input.get(1..end)?;
    *input = &input[end + 2..];
    Some(line)
}

fn take_bulk<'a>(input: &mut &'a [u8], length: i64) -> Option<&'a [u8]> {
    let length = usize::try_from(length).ok()?;
    let bulk = input.get(..length)?;
    *input = input.get(length + 2..)?;
    Some(bulk)
}

fn take(input: &mut &[u8], resp3: bool) -> Option<Value> {
    let kind = *input.first()?;
    let line = take_line(input)?;
    let absent = || if resp3 { Value::Nil } else { Value::Boolean(false) };
    Some(match kind {
        b'+' => Value::single("ok", Value::Bytes(line.to_vec())),
        b'-' => Value::single("err", Value::Bytes(line.to_vec())),
        b':' => Value::Number(parse_i64(line)? as f64),
        b'$' if line == b"-1" => absent(),
        b'$' => Value::Bytes(take_bulk(input, parse_i64(line)?)?.to_vec()),
        b'*' if line == b"-1" => absent(),
        b'*' => {
            let count = parse_i64(line)?;
            Value::array((0..count).map(|_| take(input, resp3)).collect::<Option<Vec<_>>>()?)
        }
        b'%' => {
            let count = parse_i64(line)?;
            let pairs = (0..count).map(|_| Some((take(input, resp3)?, take(input, resp3)?)));
            Value::single("map", Value::Table(Table(pairs.collect::<Option<Vec<_>>>()?)))
        }
        b'~' => {
            let count = parse_i64(line)?;
            let pairs = (0..count).map(|_| Some((take(input, resp3)?, Value::Boolean(true))));
            Value::single("set", Value::Table(Table(pairs.collect::<Option<Vec<_>>>()?)))
        }
        b'_' => Value::Nil,
        b'#' => Value::Boolean(line == b"t"),
        b',' => Value::single("double", Value::Number(parse_f64(line)?)),
        b'(' => Value::single("big_number", Value::Bytes(line.to_vec())),
        b'=' => {
            let bulk = take_bulk(input, parse_i64(line)?)?;
            let (format, text) = (bulk.get(..3)?, bulk.get(4..)?);
            let fields = vec![
                (Value::text("format"), Value::Bytes(format.to_vec())),
                (Value::text("string"), Value::Bytes(text.to_vec())),
            ];
            Value::single("verbatim_string", Value::Table(Table(fields)))
        }
        _ => return None,
    })
}

/// What a script returned as the reply to a client that speaks RESP3 or not; `script_resp3` is what the script has set.
pub(crate) fn push_reply(out: &mut Vec<u8>, value: &Value, resp3: bool, script_resp3: bool) {
    match value {
        Value::Bytes(bytes) => push_bulk(out, bytes),
        Value::Number(number) => push_integer(out, truncated(*number)),
        Value::Boolean(truth) if script_resp3 && resp3 => {
            out.extend_from_slice(if *truth { b"#t\r\n" } else { b"#f\r\n" })
        }
        Value::Boolean(truth) if script_resp3 => push_integer(out, i64::from(*truth)),
        Value::Boolean(true) => push_integer(out, 1),
        Value::Table(table) => push_table(out, table, resp3, script_resp3),
        Value::Boolean(false) | Value::Nil | Value::Null | Value::Other(_) => push_null(out, resp3),
    }
}

fn push_table(out: &mut Vec<u8>, table: &Table, resp3: bool, script_resp3: bool) {
    if let Value::Bytes(error) = table.field("err") {
        push_error(out, trimmed(&String::from_utf8_lossy(error)));
    } else if let Value::Bytes(status) = table.field("ok") {
        out.push(b'+');
        out.extend(one_line(status));
        out.extend_from_slice(b"\r\n");
    } else if let Value::Number(number) = table.field("double") {
        push_double(out, resp3, *number);
    } else if let Value::Bytes(digits) = table.field("big_number") {
        let digits: Vec<u8> = one_line(digits).collect();
        if resp3 {
            out.push(b'(');
            out.extend_from_slice(&digits);
            out.extend_from_slice(b"\r\n");
        } else {
            push_bulk(out, &digits);
        }
    } else if let Value::Table(verbatim) = table.field("verbatim_string")
        && let (Value::Bytes(format), Value::Bytes(text)) = (verbatim.field("format"), verbatim.field("string"))
    {
        push_verbatim(out, format, text, resp3);
    } else if let Value::Table(map) = table.field("map") {
        push_map(out, resp3, map.0.len());
        for (key, value) in &map.0 {
            push_reply(out, key, resp3, script_resp3);
            push_reply(out, value, resp3, script_resp3);
        }
    } else if let Value::Table(set) = table.field("set") {
        push_set(out, resp3, set.0.len());
        set.0.iter().for_each(|(member, _)| push_reply(out, member, resp3, script_resp3));
    } else {
        let elements = table.elements();
        push_array(out, elements.len());
        elements.into_iter().for_each(|element| push_reply(out, element, resp3, script_resp3));
    }
}

fn push_verbatim(out: &mut Vec<u8>, format: &[u8], text: &[u8], resp3: bool) {
    if !resp3 {
        return push_bulk(out, text);
    }
    out.extend_from_slice(format!("={}\r\n", text.len() + 4).as_bytes());
    out.extend((0..3).map(|at| format.get(at).copied().unwrap_or(b' ')));
    out.push(b':');
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// The text of an error without the ends of lines around it.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_matches(['\r', '\n'])
}

fn one_line(text: &[u8]) -> impl Iterator<Item = u8> {
    text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    /// Fails if a type of RESP is lost between a command and a script, or between a script and its client.
    fn every_type_of_resp_survives_a_script() {
        let reply = b"*9\r\n$1\r\na\r\n:5\r\n+OK\r\n,2.5\r\n%1\r\n$1\r\nk\r\n:1\r\n~1\r\n$1\r\nm\r\n(123\r\n=7\r\ntxt:abc\r\n#t\r\n";
        let value = from_reply(reply, true).expect("a reply");
        let mut out = Vec::new();
        push_reply(&mut out, &value, true, true);
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(reply));
        assert_eq!(from_reply(b"_\r\n", true), Ok(Value::Nil));
        assert_eq!(from_reply(b"$-1\r\n", false), Ok(Value::Boolean(false)));
        assert_eq!(from_reply(b"-ERR no\r\n", false), Err("ERR no".to_owned()));
        for cut in 1..reply.len() {
            assert!(from_reply(&reply[..cut], true).is_err(), "cut at {cut}");
        }
    }

    #[test]
    /// Fails if the elements of a table depend on the order in which they come, or go on beyond a gap.
    fn elements_end_at_the_first_gap() {
        let pair = |key: f64| (Value::Number(key), Value::Number(key * 10.0));
        let table = Table(vec![pair(2.0), pair(0.0), (Value::text("x"), Value::Nil), pair(1.0), pair(4.0), pair(2.5)]);
        assert_eq!(table.elements(), [&Value::Number(10.0), &Value::Number(20.0)]);
    }
}
