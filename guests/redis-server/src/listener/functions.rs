//! FUNCTION: the listener's half. Partition 0 decides about libraries, see [`crate::scripts`].

use recoil_sdk::encoding::push_bytes;
use recoil_sdk::{Mode, RoutedCall};

use super::scripts::NOT_BUSY;
use super::{Session, call_error, quoted, unknown_subcommand, wrong_arity};
use crate::glob;
use crate::request::{self, Op, Style, push_number};
use crate::resp::{Arguments, push_array, push_bulk, push_integer, push_map, push_null, push_set, push_simple};
use crate::scripts::shebang::{self, FLAG_NAMES};
use crate::scripts::{Library, LibraryOp};

const DAMAGED: &str = "ERR a partition answered something that cannot be read";

impl Session<'_> {
    pub(super) fn function(&mut self, arguments: Arguments<'_>) -> Result<(), String> {
        let subcommand = arguments.at(1);
        let is = |name: &str| subcommand.eq_ignore_ascii_case(name.as_bytes());
        let arity = |right: bool| match right {
            true => Ok(()),
            false => Err(wrong_arity(&format!("function|{}", quoted(subcommand, 32).to_ascii_lowercase()))),
        };
        if is("LOAD") {
            arity(arguments.len() >= 3)?;
            self.function_load(arguments)?;
        } else if is("DELETE") {
            arity(arguments.len() == 3)?;
            self.delete_library(arguments.at(2))?;
            push_simple(&mut self.out, "OK");
        } else if is("FLUSH") {
            if arguments.len() > 3 {
                return Err(unknown_or_arity("FUNCTION", subcommand));
            }
            let known = |option: &[u8]| option.eq_ignore_ascii_case(b"ASYNC") || option.eq_ignore_ascii_case(b"SYNC");
            if arguments.from(2).any(|option| !known(option)) {
                return Err("ERR FUNCTION FLUSH only supports SYNC|ASYNC option".to_owned());
            }
            self.write_everywhere(&library_request(LibraryOp::Flush, &[]))?;
            push_simple(&mut self.out, "OK");
        } else if is("LIST") {
            self.function_list(arguments)?;
        } else if is("STATS") {
            arity(arguments.len() == 2)?;
            self.function_stats()?;
        } else if is("KILL") {
            arity(arguments.len() == 2)?;
            return Err(NOT_BUSY.to_owned());
        } else if is("HELP") {
            arity(arguments.len() == 2)?;
            self.help(FUNCTION_HELP);
        } else {
            return Err(unknown_subcommand("FUNCTION", subcommand));
        }
        Ok(())
    }

    /// Have partition 0 load a library, which decides whether it is right, then the others.
    fn load_library(&self, how: LibraryOp, text: &[u8]) -> Result<(), String> {
        self.on_first_partition(&library_request(how, &[text]))?;
        self.on_other_partitions(&library_request(LibraryOp::Take, &[text]))
    }

    /// Partition 0 is the last, so that a deletion can be repeated.
    fn delete_library(&self, name: &[u8]) -> Result<(), String> {
        let request = library_request(LibraryOp::Delete, &[name]);
        self.on_other_partitions(&request)?;
        self.on_first_partition(&request)
    }

    fn on_first_partition(&self, request: &[u8]) -> Result<(), String> {
        let call = RoutedCall::to_partition(0, request.to_vec(), Mode::Write);
        let reply = self.router.call(&call).map_err(|error| call_error(&error))?;
        match reply.strip_prefix(b"-") {
            Some(error) => Err(quoted(error, 1024).trim_end().to_owned()),
            None => Ok(()),
        }
    }

    fn on_other_partitions(&self, request: &[u8]) -> Result<(), String> {
        let others: Vec<_> = (1..self.router.partitions().len() as u32)
            .map(|partition| RoutedCall::to_partition(partition, request.to_vec(), Mode::Write))
            .collect();
        for answer in self.router.call_many(&others) {
            // What one partition refuses it has missed before, and this brings it to where the others are.
            answer
                .map_err(|error| format!("{}; the change is on some partitions only: repeat it", call_error(&error)))?;
        }
        Ok(())
    }

    fn function_load(&mut self, arguments: Arguments<'_>) -> Result<(), String> {
        let mut how = LibraryOp::Load;
        for at in 2..arguments.len() - 1 {
            if !arguments.at(at).eq_ignore_ascii_case(b"REPLACE") {
                return Err(format!("ERR Unknown option given: {}", quoted(arguments.at(at), 128)));
            }
            how = LibraryOp::Replace;
        }
        let text = arguments.at(arguments.len() - 1);
        let (name, _) = shebang::of_library(text)?;
        self.load_library(how, text)?;
        push_bulk(&mut self.out, name.as_bytes());
        Ok(())
    }

    fn libraries(&self) -> Result<Vec<Library>, String> {
        let list = RoutedCall::to_partition(0, library_request(LibraryOp::List, &[]), Mode::Read);
        let answer = self.router.call(&list).map_err(|error| call_error(&error))?;
        Library::decode_list(&answer).map_err(|_| DAMAGED.to_owned())
    }

    fn function_list(&mut self, arguments: Arguments<'_>) -> Result<(), String> {
        let (mut pattern, mut with_code, mut at) = (None, false, 2);
        while at < arguments.len() {
            if !with_code && arguments.at(at).eq_ignore_ascii_case(b"WITHCODE") {
                with_code = true;
            } else if pattern.is_none() && arguments.at(at).eq_ignore_ascii_case(b"LIBRARYNAME") {
                at += 1;
                if at >= arguments.len() {
                    return Err("ERR library name argument was not given".to_owned());
                }
                pattern = Some(arguments.at(at).to_ascii_lowercase());
            } else {
                return Err(format!("ERR Unknown argument {}", quoted(arguments.at(at), 128)));
            }
            at += 1;
        }
        let mut libraries = self.libraries()?;
        if let Some(pattern) = pattern {
            libraries.retain(|library| glob::matches(&pattern, library.name.to_ascii_lowercase().as_bytes()));
        }
        let resp3 = self.resp3;
        push_array(&mut self.out, libraries.len());
        for library in &libraries {
            push_library(&mut self.out, library, resp3, with_code);
        }
        Ok(())
    }

    fn function_stats(&mut self) -> Result<(), String> {
        let libraries = self.libraries()?;
        let functions: usize = libraries.iter().map(|library| library.functions.len()).sum();
        let (out, resp3) = (&mut self.out, self.resp3);
        push_map(out, resp3, 2);
        push_bulk(out, b"running_script");
        push_null(out, resp3);
        push_bulk(out, b"engines");
        push_map(out, resp3, 1);
        push_bulk(out, b"LUA");
        push_map(out, resp3, 2);
        push_bulk(out, b"libraries_count");
        push_integer(out, libraries.len() as i64);
        push_bulk(out, b"functions_count");
        push_integer(out, functions as i64);
        Ok(())
    }
}

fn push_library(out: &mut Vec<u8>, library: &Library, resp3: bool, with_code: bool) {
    push_map(out, resp3, if with_code { 4 } else { 3 });
    push_bulk(out, b"library_name");
    push_bulk(out, library.name.as_bytes());
    push_bulk(out, b"engine");
    push_bulk(out, b"LUA");
    push_bulk(out, b"functions");
    push_array(out, library.functions.len());
    for function in &library.functions {
        push_map(out, resp3, 3);
        push_bulk(out, b"name");
        push_bulk(out, function.name.as_bytes());
        push_bulk(out, b"description");
        match &function.description {
            Some(description) => push_bulk(out, description),
            None => push_null(out, resp3),
        }
        push_bulk(out, b"flags");
        let flags: Vec<_> = FLAG_NAMES.iter().filter(|(flag, _)| function.flags & flag != 0).collect();
        push_set(out, resp3, flags.len());
        flags.into_iter().for_each(|(_, name)| push_simple(out, name));
    }
    if with_code {
        push_bulk(out, b"library_code");
        push_bulk(out, &library.text);
    }
}

fn library_request(which: LibraryOp, arguments: &[&[u8]]) -> Vec<u8> {
    let mut request = request::begin(Op::Library, Style::INTERNAL, false, 64);
    push_number(&mut request, which as u64);
    arguments.iter().for_each(|argument| push_bytes(&mut request, argument));
    request
}

fn unknown_or_arity(container: &str, name: &[u8]) -> String {
    format!("ERR unknown subcommand or wrong number of arguments for '{}'. Try {container} HELP.", quoted(name, 128))
}

const FUNCTION_HELP: &[&str] = &[
    "FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "LOAD [REPLACE] <FUNCTION CODE>",
    "    Create a new library with the given library name and code.",
    "DELETE <LIBRARY NAME>",
    "    Delete the given library.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    "    Return general information on all the libraries.",
    "STATS",
    "    Return the number of libraries and functions.",
    "KILL",
    "    Answers NOTBUSY: a function ends by itself or by its budget.",
    "FLUSH [ASYNC|SYNC]",
    "    Delete all the libraries.",
    "HELP",
    "    Print this help.",
];
