//! Lua's own functions with Redis' ways, and `redis.register_function`: functions of Rust that handle the engine's values themselves.

use std::rc::Weak;

use omnilua::{Function, Lua, Table as Handles, Value as Handle, Variadic};

use super::{LuaResult, Shared, gone};
use crate::scripts::engine::Registered;
use crate::scripts::shebang;

/// Lua's own functions whose errors lack a place, or which Lua 5.1 has otherwise.
pub(super) const WRAPPED: [(&str, &str); 6] = [
    ("globals", "setmetatable"),
    ("string", "find"),
    ("string", "match"),
    ("string", "gsub"),
    ("string", "char"),
    ("table", "sort"),
];

/// What messages of those functions begin with: others are of functions that they call.
const OWN_MESSAGES: [&str; 11] = [
    "attempt to compare",
    "bad argument",
    "cannot change",
    "invalid",
    "malformed pattern",
    "missing '['",
    "pattern too complex",
    "result",
    "string slice",
    "too many captures",
    "unfinished capture",
];

/// What differs in the arguments.
fn prepare(name: &str, arguments: &mut [Handle], lua: &Lua) -> LuaResult<()> {
    match (name, arguments) {
        // A start beyond the end is the end.
        ("find" | "match", [Handle::String(text), _, Handle::Number(start), ..]) => {
            let length = text.as_bytes()?.len() as f64;
            if *start > length + 1.0 {
                *start = length + 1.0;
            }
        }
        // A sign before what is no digit stands for that, at the end for C's zero.
        ("gsub", [_, _, replacement @ Handle::String(_), ..]) => {
            let Handle::String(text) = &*replacement else { return Ok(()) };
            let text = text.as_bytes()?;
            if text.contains(&b'%') {
                *replacement = Handle::String(lua.create_string(replacement_of(&text))?);
            }
        }
        _ => {}
    }
    Ok(())
}

/// A replacement for `gsub` without signs that later versions of Lua refuse.
fn replacement_of(text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.iter());
    while let Some(byte) = rest.next() {
        match (byte, rest.as_slice().first()) {
            (b'%', Some(next)) => {
                if *next == b'%' || next.is_ascii_digit() {
                    out.push(b'%');
                }
                out.push(*next);
                rest.next();
            }
            (b'%', None) => out.push(0),
            _ => out.push(*byte),
        }
    }
    out
}

/// One of [`WRAPPED`].
pub(super) fn wrap_own(lua: &Lua, shared: &Weak<Shared>, at: usize) -> LuaResult<Function> {
    let shared = shared.clone();
    let name = WRAPPED[at].1;
    lua.create_function(move |lua: &Lua, arguments: Variadic<Handle>| -> LuaResult<Variadic<Handle>> {
        let shared = shared.upgrade().ok_or_else(gone)?;
        let mut arguments = arguments.into_vec();
        prepare(name, &mut arguments, lua)?;
        shared.wrapped[at].call::<_, Variadic<Handle>>(Variadic::from(arguments)).map_err(|error| {
            let Some(text) = error.message_bytes().and_then(|text| std::str::from_utf8(text).ok()) else {
                return error;
            };
            if !OWN_MESSAGES.iter().any(|own| text.starts_with(own)) {
                return error;
            }
            let text = text.replace("to '?'", &format!("to '{name}'")).replace("value out of range", "invalid value");
            let text = if text.starts_with("invalid capture index") { "invalid capture index" } else { &text };
            if text.starts_with("attempt to compare") {
                *shared.place.borrow_mut() = shared.caller();
                return error;
            }
            shared.raise_text(text)
        })
    })
}

/// `redis.register_function`.
pub(super) fn wrap_register(lua: &Lua, shared: &Weak<Shared>) -> LuaResult<Function> {
    let shared = shared.clone();
    lua.create_function(move |lua: &Lua, arguments: Variadic<Handle>| -> LuaResult<()> {
        let shared = shared.upgrade().ok_or_else(gone)?;
        let registered = match register(&arguments)? {
            Ok(registered) => registered,
            Err(text) => return Err(shared.raise_reply(lua, text)),
        };
        let mut registering = shared.registering.borrow_mut();
        let Some(functions) = registering.as_mut() else {
            drop(registering);
            return Err(
                shared.raise_reply(lua, "ERR redis.register_function can only be called on FUNCTION LOAD command")
            );
        };
        if functions.iter().any(|(other, _)| other.name.eq_ignore_ascii_case(&registered.0.name)) {
            drop(registering);
            return Err(shared.raise_reply(lua, "ERR Function already exists in the library"));
        }
        functions.push(registered);
        Ok(())
    })
}

/// The arguments of `redis.register_function`: a name and a function, or a table of named ones.
fn register(arguments: &[Handle]) -> LuaResult<Result<(Registered, Function), &'static str>> {
    let mut registered = Registered { name: String::new(), description: None, flags: 0 };
    let (name, callback) = match arguments {
        [Handle::Table(table)] => match register_named(table, &mut registered)? {
            Ok(found) => found,
            Err(text) => return Ok(Err(text)),
        },
        [_] => {
            return Ok(Err(
                "ERR calling redis.register_function with a single argument is only applicable to Lua table \
                           (representing named arguments).",
            ));
        }
        [name, callback] => {
            let Some(name) = text_of(name)? else {
                return Ok(Err("ERR first argument to redis.register_function must be a string"));
            };
            let Handle::Function(callback) = callback else {
                return Ok(Err("ERR second argument to redis.register_function must be a function"));
            };
            (name, callback.clone())
        }
        _ => return Ok(Err("ERR wrong number of arguments to redis.register_function")),
    };
    match String::from_utf8(name).ok().filter(|name| shebang::is_name(name)) {
        Some(name) => {
            registered.name = name;
            Ok(Ok((registered, callback)))
        }
        None => Ok(Err(shebang::BAD_NAME)),
    }
}

fn text_of(handle: &Handle) -> LuaResult<Option<Vec<u8>>> {
    match handle {
        Handle::String(text) => Ok(Some(text.as_bytes()?)),
        _ => Ok(None),
    }
}

type Named = Result<(Vec<u8>, Function), &'static str>;

fn register_named(table: &Handles, registered: &mut Registered) -> LuaResult<Named> {
    let (mut name, mut callback) = (None, None);
    for (key, value) in table.raw_pairs()? {
        let Some(key) = text_of(&key)? else {
            return Ok(Err("ERR named argument key given to redis.register_function is not a string"));
        };
        match (&key[..], value) {
            (b"function_name", value) => match text_of(&value)? {
                Some(text) => name = Some(text),
                None => return Ok(Err("ERR function_name argument given to redis.register_function must be a string")),
            },
            (b"description", value) => match text_of(&value)? {
                Some(text) => registered.description = Some(text),
                None => return Ok(Err("ERR description argument given to redis.register_function must be a string")),
            },
            (b"callback", Handle::Function(function)) => callback = Some(function),
            (b"callback", _) => {
                return Ok(Err("ERR callback argument given to redis.register_function must be a function"));
            }
            (b"flags", Handle::Table(flags)) => {
                for (_, flag) in flags.raw_pairs()? {
                    match text_of(&flag)?.as_deref().and_then(shebang::flag) {
                        Some(flag) => registered.flags |= flag,
                        None => return Ok(Err("ERR unknown flag given")),
                    }
                }
            }
            (b"flags", _) => {
                return Ok(Err(
                    "ERR flags argument to redis.register_function must be a table representing function flags",
                ));
            }
            _ => return Ok(Err("ERR unknown argument given to redis.register_function")),
        }
    }
    Ok(match (name, callback) {
        (None, _) => Err("ERR redis.register_function must get a function name argument"),
        (_, None) => Err("ERR redis.register_function must get a callback argument"),
        (Some(name), Some(callback)) => Ok((name, callback)),
    })
}
