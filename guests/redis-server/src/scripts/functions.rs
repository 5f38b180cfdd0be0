//! Functions: FCALL, and the rows of libraries. [`crate::scripts`] has the layout.
//!
//! Partition 0 decides: FUNCTION LOAD, DELETE, FLUSH and RESTORE go there first, which checks names, and then to the others, one
//! by one, which take what they are given. Invariant: a function's row and its library's are written and removed together.

use recoil_sdk::KeyRange;
use recoil_sdk::encoding::{DecodeError, Reader, Writer, push_bytes};

use super::commands::Commands;
use super::engine::{Digest, Input, Registered};
use super::{
    FLAG_READ_ONLY, NOT_READ_ONLY, ROW_FUNCTION, SCRIPT_BYTES_MAX, abort, finish, sha1_of, shebang, with_engine,
};
use crate::executor::Call;
use crate::keyspace::{Failure, Keyspace, Outcome, damaged};

const PART_LIBRARY: u8 = 0;
const PART_FUNCTION: u8 = 1;
const PART_TEXT: u8 = 2;

/// What [`crate::request::Op::Library`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum LibraryOp {
    /// Load texts, whose names must be new.
    Load = 0,
    /// Load texts in the place of libraries of their names.
    Replace = 1,
    /// Load texts in the place of all libraries.
    Restore = 2,
    /// Take texts that partition 0 has accepted.
    Take = 3,
    Delete = 4,
    Flush = 5,
    List = 6,
}

/// A library as its row describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Library {
    pub(crate) name: String,
    digest: Digest,
    pub(crate) functions: Vec<Registered>,
    /// Only in the answer to [`LibraryOp::List`].
    pub(crate) text: Vec<u8>,
}

impl Library {
    fn encode(&self) -> Vec<u8> {
        let mut row = Writer::new().bytes(&self.digest).count(self.functions.len() as u64);
        for function in &self.functions {
            row = row.bytes(function.name.as_bytes()).u8(function.flags);
            row = row.u8(u8::from(function.description.is_some()));
            row = row.bytes(function.description.as_deref().unwrap_or_default());
        }
        row.finish()
    }

    fn decode(name: &str, row: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(row);
        let digest = reader.bytes()?.try_into().map_err(|_| reader.error("not a digest"))?;
        let mut functions = Vec::new();
        for _ in 0..reader.count()? {
            let name = String::from_utf8_lossy(reader.bytes()?).into_owned();
            let (flags, described, description) = (reader.u8()?, reader.u8()? != 0, reader.bytes()?.to_vec());
            functions.push(Registered { name, description: described.then_some(description), flags });
        }
        Ok(Library { name: name.to_owned(), digest, functions, text: Vec::new() })
    }

    /// Libraries of an answer to [`LibraryOp::List`].
    pub(crate) fn decode_list(answer: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let (mut reader, mut libraries) = (Reader::new(answer), Vec::new());
        while reader.remaining() > 0 {
            let (name, row) = (String::from_utf8_lossy(reader.bytes()?), reader.bytes()?);
            libraries.push(Library { text: reader.bytes()?.to_vec(), ..Library::decode(&name, row)? });
        }
        Ok(libraries)
    }
}

fn row(part: u8, name: &str) -> Vec<u8> {
    [&[ROW_FUNCTION, part][..], name.as_bytes()].concat()
}

/// What a function's row says.
struct FunctionRow {
    digest: Digest,
    flags: u8,
    library: String,
}

impl FunctionRow {
    fn load(keyspace: &Keyspace<'_>, function: &str) -> Result<Option<Self>, Failure> {
        let Some(row) = keyspace.transaction.get(&row(PART_FUNCTION, &function.to_ascii_lowercase()))? else {
            return Ok(None);
        };
        let decode = |mut reader: Reader<'_>| -> Result<Self, DecodeError> {
            let (digest, flags) = (reader.array()?, reader.u8()?);
            Ok(FunctionRow { digest, flags, library: String::from_utf8_lossy(reader.bytes()?).into_owned() })
        };
        decode(Reader::new(&row)).map(Some).map_err(damaged)
    }
}

/// `Op::FCall`: arguments are flags, the function's name, the number of keys, keys and arguments.
pub(super) fn call(call: &mut Call<'_, '_>) -> Outcome {
    let (flags, name, key_count) = (call.arguments.number()?, call.arguments.required()?, call.arguments.number()?);
    let mut keys = call.rest()?;
    let arguments = keys.split_off((key_count as usize).min(keys.len()));
    let name = String::from_utf8_lossy(name);
    let Some(function) = FunctionRow::load(call.keyspace, &name)? else {
        return Err("ERR Function not found".into());
    };
    let no_writes = function.flags & shebang::NO_WRITES != 0;
    if flags & FLAG_READ_ONLY != 0 && !no_writes {
        return Err(NOT_READ_ONLY.into());
    }
    let digest = function.digest;
    if !with_engine(|engine| Ok(engine.has_library(&digest)))?.unwrap_or(false) {
        let text = call.keyspace.transaction.get(&row(PART_TEXT, &function.library))?;
        let text = text.ok_or_else(|| damaged("a function's library has no text"))?;
        load(&text)?;
    }
    let input = Input { keys: &keys, arguments: &arguments };
    let mut commands = Commands::new(call.keyspace, &keys, no_writes);
    let lower = name.to_ascii_lowercase();
    let outcome = with_engine(|engine| engine.call(&digest, &lower, input, &mut commands))?;
    let aborted = commands.aborted();
    finish(call, outcome, aborted, &name)
}

/// Have the engine load a library; the error is for the client.
fn load(text: &[u8]) -> Result<Library, Failure> {
    if text.len() > SCRIPT_BYTES_MAX {
        return Err(format!("ERR a library may come to {SCRIPT_BYTES_MAX} bytes at most").into());
    }
    let (name, lua) = shebang::of_library(text)?;
    let digest = sha1_of(text);
    match with_engine(|engine| Ok(engine.load(digest, lua)))? {
        Ok(Ok(functions)) => Ok(Library { name: name.to_owned(), digest, functions, text: Vec::new() }),
        Ok(Err(message)) => Err(format!("ERR {message}").into()),
        Err(stopped) => Err(abort(&stopped)),
    }
}

/// `Op::Library`: arguments are a [`LibraryOp`], and texts or a name.
pub(super) fn library(call: &mut Call<'_, '_>) -> Outcome {
    const LOAD: u64 = LibraryOp::Load as u64;
    const RESTORE: u64 = LibraryOp::Restore as u64;
    const TAKE: u64 = LibraryOp::Take as u64;
    const DELETE: u64 = LibraryOp::Delete as u64;
    const FLUSH: u64 = LibraryOp::Flush as u64;
    const LIST: u64 = LibraryOp::List as u64;
    let which = call.arguments.number()?;
    match which {
        LIST => return list(call),
        FLUSH => return flush(call),
        DELETE => {
            let name = String::from_utf8_lossy(call.arguments.required()?).into_owned();
            return match find(call.keyspace, &name)? {
                Some(library) => remove(call.keyspace, &library),
                None => Err("ERR Library not found".into()),
            };
        }
        _ => {}
    }
    let texts = call.rest()?;
    let mut loaded = Vec::new();
    for text in texts {
        loaded.push((load(text)?, text));
    }
    if which != TAKE {
        check_names(call.keyspace, which == LOAD, which == RESTORE, &loaded)?;
    }
    if which == RESTORE {
        flush(call)?;
    }
    for (library, text) in &loaded {
        if let Some(before) = find(call.keyspace, &library.name)? {
            remove(call.keyspace, &before)?;
        }
        store(call.keyspace, library, text)?;
    }
    Ok(())
}

/// Refuse libraries and functions whose names are taken, before anything is written.
fn check_names(keyspace: &Keyspace<'_>, must_be_new: bool, replaces_all: bool, loaded: &[(Library, &[u8])]) -> Outcome {
    for (at, (library, _)) in loaded.iter().enumerate() {
        if must_be_new && find(keyspace, &library.name)?.is_some() {
            return Err(format!("ERR Library '{}' already exists", library.name).into());
        }
        for function in &library.functions {
            let elsewhere = match FunctionRow::load(keyspace, &function.name)? {
                Some(other) if !replaces_all => loaded.iter().all(|(library, _)| library.name != other.library),
                _ => false,
            };
            let earlier = loaded[..at].iter().flat_map(|(library, _)| &library.functions);
            let mut earlier = earlier.map(|function| &function.name);
            if elsewhere || earlier.any(|name| name.eq_ignore_ascii_case(&function.name)) {
                return Err(format!("ERR Function {} already exists", function.name).into());
            }
        }
    }
    Ok(())
}

fn find(keyspace: &Keyspace<'_>, name: &str) -> Result<Option<Library>, Failure> {
    let row = keyspace.transaction.get(&row(PART_LIBRARY, name))?;
    row.map(|row| Library::decode(name, &row).map_err(damaged)).transpose()
}

fn store(keyspace: &mut Keyspace<'_>, library: &Library, text: &[u8]) -> Outcome {
    for function in &library.functions {
        let mut value = library.digest.to_vec();
        value.push(function.flags);
        push_bytes(&mut value, library.name.as_bytes());
        keyspace.transaction.put(&row(PART_FUNCTION, &function.name.to_ascii_lowercase()), &value)?;
    }
    keyspace.transaction.put(&row(PART_TEXT, &library.name), text)?;
    Ok(keyspace.transaction.put(&row(PART_LIBRARY, &library.name), &library.encode())?)
}

fn remove(keyspace: &mut Keyspace<'_>, library: &Library) -> Outcome {
    for function in &library.functions {
        // On a partition that has missed something it may be another library's by now.
        if FunctionRow::load(keyspace, &function.name)?.is_some_and(|row| row.library == library.name) {
            keyspace.transaction.remove(&row(PART_FUNCTION, &function.name.to_ascii_lowercase()))?;
        }
    }
    keyspace.transaction.remove(&row(PART_TEXT, &library.name))?;
    Ok(keyspace.transaction.remove(&row(PART_LIBRARY, &library.name))?)
}

fn flush(call: &mut Call<'_, '_>) -> Outcome {
    Ok(call.keyspace.transaction.remove_range(&KeyRange::prefix(&[ROW_FUNCTION]))?)
}

/// Answer each library's name, row and text.
fn list(call: &mut Call<'_, '_>) -> Outcome {
    let mut range = KeyRange::prefix(&[ROW_FUNCTION, PART_LIBRARY]);
    loop {
        let page = call.keyspace.transaction.scan(&range, 100, false)?;
        let Some(last) = page.last() else { return Ok(()) };
        range.start = [&last.key[..], b"\0"].concat();
        for entry in &page {
            let name = String::from_utf8_lossy(&entry.key[2..]).into_owned();
            let text = call.keyspace.transaction.get(&row(PART_TEXT, &name))?.unwrap_or_default();
            push_bytes(&mut call.reply, name.as_bytes());
            push_bytes(&mut call.reply, &entry.value);
            push_bytes(&mut call.reply, &text);
            call.check_reply()?;
        }
    }
}
