//! Scripts and functions on a partition: EVAL, EVALSHA, FCALL, and the rows that scripts and libraries are kept in.
//!
//! ```text
//! script row     06 | SHA-1 (20) | 0 → flags (1);   06 | SHA-1 (20) | 1 → text
//! function row   07 | 1 | name in lower case → SHA-1 of the library's text (20) | flags (1) | name of the library
//! library row    07 | 0 | name → SHA-1 of its text (20) | functions;   07 | 2 | name → text
//! ```
//!
//! A script runs on one partition, as one transaction: its commands are operations of [`crate::executor`] on the same
//! keyspace. An error ends it and leaves what it has written, as in Redis. What Redis has no counterpart of rolls back
//! everything: too many instructions, too much memory, a storage that refuses a write.
//!
//! Where scripts are: the text is a row of the partition that owns its digest in hexadecimal, its *home*, and a copy is a row
//! of every partition that has run it. EVALSHA on a partition without a copy answers [`SEND_SCRIPT`]; the listener then fetches
//! the text from its home and has it put there. So EVALSHA costs one call, and SCRIPT FLUSH is one write on every partition.
//! Libraries are rows of every partition; partition 0 decides about names.
//!
//! Which keys: a handler does not know the partition of a key. The declared keys are on this one, since the listener has
//! looked; a key with the hash tag of a declared one is so, too. Another one ends the run without effect and is answered as
//! [`UNDECLARED`] with its tag; if that tag's partition is this one, the listener asks again and lists it as approved.
//!
//! Engines are caches of their instance, keyed by digests; [`TEXT_BYTES_MAX`] bounds them. Deliberately absent: `SCRIPT DEBUG`,
//! `SCRIPT KILL` of a running script (a budget ends it), state of libraries that outlives an engine.

mod bits;
mod commands;
mod copies;
pub(crate) mod engine;
mod format;
mod functions;
mod json;
mod msgpack;
mod natives;
mod omni;
pub(crate) mod shebang;
mod structs;
pub(crate) mod value;

use std::cell::RefCell;

use recoil_sdk::{Error, KeyRange};
use sha1::{Digest as _, Sha1};

use self::commands::Commands;
use self::engine::{Digest, Engine, Input, Returned, Stopped};
use self::omni::OmniLua;
use crate::executor::Call;
use crate::keyspace::{Failure, Outcome, damaged};
use crate::request::Op;
use crate::resp::{push_error, push_integer};

pub(crate) use self::functions::{Library, LibraryOp};

/// First byte of a script's row.
pub(crate) const ROW_SCRIPT: u8 = 6;
/// First byte of a row of functions, the next one.
pub(crate) const ROW_FUNCTION: u8 = 7;
/// What the texts in an engine may come to; beyond, a new one takes its place.
const TEXT_BYTES_MAX: usize = 4 << 20;
/// The longest script: what it is compiled to must fit in an engine.
pub(crate) const SCRIPT_BYTES_MAX: usize = 1 << 20;

/// First byte of an answer: the partition lacks the script, whose text the listener must send. No reply begins with it.
pub(crate) const SEND_SCRIPT: u8 = 2;
/// First byte of an answer whose reply follows: the partition has not had the script before.
pub(crate) const NEW_SCRIPT: u8 = 3;
/// A script that is sent as part of a transaction must be answered in one go.
pub(crate) const FLAG_IN_TRANSACTION: u64 = 1;
/// The command is one of those that end with `_RO`.
pub(crate) const FLAG_READ_ONLY: u64 = 2;
/// The answer to [`Script::Get`] for a script that is there: its text follows.
pub(crate) const FOUND: u8 = 1;

/// What a call is rejected with when its script has touched a key of a tag that is not known to be of this partition: behind
/// it are the partition, the tag and the key, the latter two in hexadecimal.
pub(crate) const UNDECLARED: &str = "UNDECLARED";

/// What EVALSHA answers for a script that nobody knows.
pub(crate) const NO_SCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";
const NOT_READ_ONLY: &str = "ERR Can not execute a script with write flag using *_ro command.";

/// What [`Op::Script`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Script {
    /// Keep a text, if it can be compiled.
    Put = 0,
    /// Answer a text.
    Get = 1,
    /// Remove all.
    Flush = 2,
    /// Answer 1 or 0.
    Exists = 3,
}

/// The digest by which clients know a text.
pub(crate) fn sha1_of(text: &[u8]) -> Digest {
    Sha1::digest(text).into()
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal digits, in any case.
pub(crate) fn from_hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
    let pairs = digits.chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

fn sha1_hex(text: &[u8]) -> String {
    hexadecimal(&sha1_of(text))
}

fn script_row(digest: &Digest, part: u8) -> Vec<u8> {
    [&[ROW_SCRIPT][..], digest, &[part]].concat()
}

thread_local!(static ENGINE: RefCell<Option<OmniLua>> = const { RefCell::new(None) });

/// Use this instance's engine. One that has met its bounds, or holds too much, is not kept.
fn with_engine<T>(body: impl FnOnce(&mut dyn Engine) -> Result<T, Stopped>) -> Result<Result<T, Stopped>, Failure> {
    let mut engine = match ENGINE.with_borrow_mut(Option::take) {
        Some(engine) => engine,
        None => OmniLua::new().map_err(|why| Failure::Abort(Error::new(format!("ERR {why}"))))?,
    };
    let result = body(&mut engine);
    let spent = matches!(result, Err(Stopped::Budget | Stopped::Memory)) || engine.text_bytes() > TEXT_BYTES_MAX;
    if !spent {
        ENGINE.set(Some(engine));
    }
    Ok(result)
}

/// Forget the engine, as an instance that is dropped does.
#[cfg(test)]
pub(crate) fn forget_engine() {
    ENGINE.set(None);
}

/// An operation of scripts.
pub(crate) fn run(op: Op, call: &mut Call<'_, '_>) -> Outcome {
    match op {
        Op::Eval => eval(call, true),
        Op::EvalSha => eval(call, false),
        Op::Script => script(call),
        Op::FCall => functions::call(call),
        _ => functions::library(call),
    }
}

/// Keep a text.
fn put_script(call: &mut Call<'_, '_>, digest: &Digest, text: &[u8], flags: u8) -> Outcome {
    call.keyspace.transaction.put(&script_row(digest, 1), text)?;
    Ok(call.keyspace.transaction.put(&script_row(digest, 0), &[flags])?)
}

/// `Op::Script`: arguments are a [`Script`], and a text or a digest.
fn script(call: &mut Call<'_, '_>) -> Outcome {
    const FLUSH: u64 = Script::Flush as u64;
    const PUT: u64 = Script::Put as u64;
    const GET: u64 = Script::Get as u64;
    let which = call.arguments.number()?;
    if which == FLUSH {
        let range = KeyRange::prefix(&[ROW_SCRIPT]);
        call.keyspace.transaction.remove_range(&range)?;
        return Ok(());
    }
    let argument = call.arguments.required()?;
    if which == PUT {
        let digest = sha1_of(argument);
        let flags = compile(&digest, argument)?;
        return put_script(call, &digest, argument, flags);
    }
    let digest: Digest = argument.try_into().map_err(|_| Failure::from("ERR not a digest"))?;
    if which == GET {
        if let Some(text) = call.keyspace.transaction.get(&script_row(&digest, 1))? {
            call.reply.push(FOUND);
            call.reply.extend_from_slice(&text);
        }
    } else {
        let known = call.keyspace.transaction.get(&script_row(&digest, 0))?.is_some();
        push_integer(&mut call.reply, i64::from(known));
    }
    Ok(())
}

/// Have the engine keep a script; the error is for the client. Answers the script's flags.
fn compile(digest: &Digest, text: &[u8]) -> Result<u8, Failure> {
    if text.len() > SCRIPT_BYTES_MAX {
        return Err(format!("ERR a script may come to {SCRIPT_BYTES_MAX} bytes at most").into());
    }
    let (flags, lua) = shebang::of_script(text)?;
    let compiled =
        with_engine(|engine| Ok(if engine.has_script(digest) { Ok(()) } else { engine.compile(*digest, lua) }))?;
    match compiled {
        Ok(Ok(())) => Ok(flags),
        Ok(Err(message)) => Err(format!("ERR Error compiling script (new function): {message}").into()),
        Err(stopped) => Err(abort(&stopped)),
    }
}

/// The flags of a script that this partition has, once it is compiled.
fn known_flags(call: &mut Call<'_, '_>, digest: &Digest) -> Result<Option<u8>, Failure> {
    let Some(row) = call.keyspace.transaction.get(&script_row(digest, 0))? else { return Ok(None) };
    if with_engine(|engine| Ok(engine.has_script(digest)))?.unwrap_or(false) {
        return row.first().copied().map(Some).ok_or_else(|| damaged("a script without its flags"));
    }
    let text = call.keyspace.transaction.get(&script_row(digest, 1))?;
    compile(digest, &text.ok_or_else(|| damaged("a script without its text"))?).map(Some)
}

/// `Op::Eval` and `Op::EvalSha`: arguments are flags, text or digest, the number of keys, keys and arguments.
fn eval(call: &mut Call<'_, '_>, by_text: bool) -> Outcome {
    let (flags, script, key_count) = (call.arguments.number()?, call.arguments.required()?, call.arguments.number()?);
    let mut keys = call.rest()?;
    let arguments = keys.split_off((key_count as usize).min(keys.len()));
    let (digest, script_flags, is_new) = if by_text {
        let digest = sha1_of(script);
        let script_flags = compile(&digest, script)?;
        (digest, script_flags, call.keyspace.transaction.get(&script_row(&digest, 0))?.is_none())
    } else {
        let digest: Digest = script.try_into().map_err(|_| Failure::from(NO_SCRIPT))?;
        match known_flags(call, &digest)? {
            Some(script_flags) => (digest, script_flags, false),
            None if flags & FLAG_IN_TRANSACTION != 0 => return Err(NO_SCRIPT.into()),
            None => {
                call.reply.push(SEND_SCRIPT);
                return Ok(());
            }
        }
    };
    let is_writing = script_flags & (shebang::NO_WRITES | shebang::COMPATIBLE) == 0;
    let read_only = flags & FLAG_READ_ONLY != 0;
    if read_only && is_writing {
        return Err(NOT_READ_ONLY.into());
    }
    if is_new {
        if !call.keyspace.transaction.is_read_only() {
            put_script(call, &digest, script, script_flags)?;
        }
        if flags & FLAG_IN_TRANSACTION == 0 {
            call.reply.push(NEW_SCRIPT);
        }
    }
    let read_only = read_only || script_flags & shebang::NO_WRITES != 0;
    let input = Input { keys: &keys, arguments: &arguments };
    let mut commands = Commands::new(call.keyspace, &keys, read_only);
    let outcome = with_engine(|engine| engine.run(&digest, input, &mut commands))?;
    let aborted = commands.aborted();
    finish(call, outcome, aborted, &hexadecimal(&digest))
}

/// Answer what became of a run, or roll it back.
fn finish(call: &mut Call<'_, '_>, outcome: Result<Returned, Stopped>, aborted: Option<Error>, name: &str) -> Outcome {
    if let Some(error) = aborted {
        return Err(Failure::Abort(error));
    }
    match outcome {
        Ok(returned) => {
            value::push_reply(&mut call.reply, &returned.value, call.resp3, returned.resp3);
            call.check_reply()
        }
        Err(Stopped::Raised { text, place }) => {
            let place = place.map(|(source, line)| format!(" script: {name}, on {source}:{line}.")).unwrap_or_default();
            push_error(&mut call.reply, &format!("{}{place}", value::trimmed(&text)));
            Ok(())
        }
        Err(stopped) => Err(abort(&stopped)),
    }
}

fn abort(stopped: &Stopped) -> Failure {
    let why = match stopped {
        Stopped::Memory => "the script uses more memory than a script may: handle less at a time".to_owned(),
        _ => {
            format!("the script was stopped after {} million instructions: do less at a time", omni::BUDGET / 1_000_000)
        }
    };
    Failure::Abort(Error::new(format!("ERR {why}; nothing was written")))
}
