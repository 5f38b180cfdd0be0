//! Copying values out of the engine and into it.
//!
//! Both ways walk with a stack of their own, so that deep tables cost no native stack. Bounds: [`DEPTH_MAX`] levels and
//! [`NODES_MAX`] values.

use omnilua::{Error, Lua, Table as Handles, Value as Handle};

use super::value::{DEPTH_MAX, Table, Value};

/// Values in one copy.
const NODES_MAX: usize = 400_000;

/// What is to be copied of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Everything.
    Whole,
    /// Everything down to a depth; tables below are nil.
    Cut(usize),
    /// What a reply is made of: elements, and the fields that replies know.
    Reply,
}

const TOO_DEEP: &str = "Cannot serialise, excessive nesting (1001)";
const TOO_LARGE: &str = "the value has more than 400,000 parts: return or encode less at a time";

/// A table that is being copied.
struct Level {
    rest: std::vec::IntoIter<(Handle, Handle)>,
    copied: Vec<(Value, Value)>,
    /// Of the pair whose value is being copied.
    key: Value,
    /// Keys that are no elements are left out unless replies know them.
    filtered: bool,
}

impl Level {
    fn new(table: &Handles, filtered: bool) -> Result<Self, Error> {
        Ok(Level { rest: table.raw_pairs()?.into_iter(), copied: Vec::new(), key: Value::Nil, filtered })
    }
}

const REPLY_FIELDS: [&[u8]; 7] = [b"err", b"ok", b"double", b"map", b"set", b"big_number", b"verbatim_string"];

fn scalar(handle: &Handle) -> Result<Value, Error> {
    Ok(match handle {
        Handle::Nil => Value::Nil,
        Handle::Boolean(truth) => Value::Boolean(*truth),
        Handle::Integer(number) => Value::Number(*number as f64),
        Handle::Number(number) => Value::Number(*number),
        Handle::String(text) => Value::Bytes(text.as_bytes()?),
        Handle::LightUserData(pointer) if pointer.is_null() => Value::Null,
        Handle::LightUserData(_) | Handle::UserData(_) => Value::Other("userdata"),
        Handle::Function(_) => Value::Other("function"),
        Handle::Thread(_) => Value::Other("thread"),
        Handle::Table(_) => Value::Other("table"),
    })
}

/// The copy of a value; or why it has none, in a text for the script.
pub(crate) fn copy(handle: &Handle, shape: Shape) -> Result<Result<Value, &'static str>, Error> {
    let Handle::Table(table) = handle else { return scalar(handle).map(Ok) };
    if shape == Shape::Cut(0) {
        return scalar(handle).map(Ok);
    }
    let mut levels = vec![Level::new(table, shape == Shape::Reply)?];
    let mut nodes = 0;
    loop {
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { return Ok(Ok(Value::Nil)) };
        let Some((key, value)) = level.rest.next() else {
            let whole = Value::Table(Table(std::mem::take(&mut level.copied)));
            levels.pop();
            match levels.last_mut() {
                None => return Ok(Ok(whole)),
                Some(outer) => {
                    let key = std::mem::replace(&mut outer.key, Value::Nil);
                    outer.copied.push((key, whole));
                }
            }
            continue;
        };
        let key = scalar(&key)?;
        if level.filtered && !is_part_of_reply(&key) {
            continue;
        }
        nodes += 1;
        if nodes > NODES_MAX {
            return Ok(Err(TOO_LARGE));
        }
        let Handle::Table(table) = &value else {
            level.copied.push((key, scalar(&value)?));
            continue;
        };
        match shape {
            Shape::Cut(depth_max) if depth >= depth_max => level.copied.push((key, Value::Nil)),
            _ if depth >= DEPTH_MAX => {
                return Ok(Err(if shape == Shape::Reply { "reached lua stack limit" } else { TOO_DEEP }));
            }
            _ => {
                let content =
                    level.filtered && matches!(&key, Value::Bytes(name) if !matches!(&name[..], b"err" | b"ok"));
                level.key = key;
                levels.push(Level::new(table, shape == Shape::Reply && !content)?);
            }
        }
    }
}

fn is_part_of_reply(key: &Value) -> bool {
    match key {
        Value::Number(_) => true,
        Value::Bytes(name) => REPLY_FIELDS.contains(&&name[..]),
        _ => false,
    }
}

fn atom(lua: &Lua, value: &Value) -> Result<Handle, Error> {
    Ok(match value {
        Value::Nil | Value::Other(_) => Handle::Nil,
        Value::Boolean(truth) => Handle::Boolean(*truth),
        Value::Number(number) => Handle::Number(*number),
        Value::Bytes(bytes) => Handle::String(lua.create_string(bytes)?),
        Value::Null => Handle::LightUserData(std::ptr::null_mut()),
        Value::Table(_) => Handle::Table(lua.create_table()?),
    })
}

/// The engine's value for one of ours.
pub(crate) fn handle_of(lua: &Lua, value: &Value) -> Result<Handle, Error> {
    let outermost = atom(lua, value)?;
    let (Handle::Table(table), Value::Table(pairs)) = (&outermost, value) else { return Ok(outermost) };
    let mut levels = vec![(table.clone(), pairs.0.iter())];
    while let Some((table, rest)) = levels.last_mut() {
        let Some((key, value)) = rest.next() else {
            levels.pop();
            continue;
        };
        let handle = atom(lua, value)?;
        if !matches!(key, Value::Nil) {
            table.raw_set(atom(lua, key)?, &handle)?;
        }
        if let (Handle::Table(inner), Value::Table(pairs)) = (handle, value) {
            levels.push((inner, pairs.0.iter()));
        }
    }
    Ok(outermost)
}
