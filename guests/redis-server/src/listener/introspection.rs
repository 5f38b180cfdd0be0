//! COMMAND.
//!
//! Invariant: everything here is made from [`COMMANDS`].

use super::unknown_subcommand;
use crate::command::{self, ADMIN, BLOCKING, COMMANDS, Command, FAST, FLAG_NAMES, READONLY, WRITE};
use crate::glob;
use crate::resp::{
    Arguments, push_array, push_bulk, push_error, push_integer, push_lines, push_map, push_null, push_set, push_simple,
};
use crate::strings::SYNTAX;

const HELP: &[&str] = &[
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    Return details about all commands.",
    "COUNT",
    "    Return the total number of commands in this server.",
    "LIST [FILTERBY MODULE|ACLCAT|PATTERN <value>]",
    "    Return a list of all commands in this server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple commands.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple commands.",
    "GETKEYS <full-command>",
    "    Return the keys from a full command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full command.",
    "HELP",
    "    Print this help.",
];

/// COMMAND.
pub(super) fn command_reply(out: &mut Vec<u8>, resp3: bool, arguments: Arguments<'_>) {
    let subcommand = arguments.at(1);
    let is = |name: &str| subcommand.eq_ignore_ascii_case(name.as_bytes());
    if arguments.len() == 1 || (is("INFO") && arguments.len() == 2) {
        push_array(out, COMMANDS.len());
        COMMANDS.iter().for_each(|command| push_command(out, resp3, command));
    } else if is("COUNT") {
        push_integer(out, COMMANDS.len() as i64);
    } else if is("LIST") {
        list(out, arguments);
    } else if is("HELP") && arguments.len() == 2 {
        push_lines(out, HELP);
    } else if is("INFO") {
        push_array(out, arguments.len() - 2);
        for name in arguments.from(2) {
            match command::find(name) {
                Some(command) => push_command(out, resp3, command),
                None => push_null(out, resp3),
            }
        }
    } else if is("DOCS") {
        let asked = |command: &&Command| {
            arguments.len() == 2 || arguments.from(2).any(|name| name.eq_ignore_ascii_case(command.name.as_bytes()))
        };
        let commands: Vec<_> = COMMANDS.iter().filter(asked).collect();
        push_map(out, resp3, commands.len());
        commands.into_iter().for_each(|command| push_docs(out, resp3, command));
    } else if (is("GETKEYS") || is("GETKEYSANDFLAGS")) && arguments.len() > 2 {
        push_keys(out, resp3, arguments, is("GETKEYSANDFLAGS"));
    } else {
        push_error(out, &unknown_subcommand("COMMAND", subcommand));
    }
}

fn push_command(out: &mut Vec<u8>, resp3: bool, command: &Command) {
    push_array(out, 10);
    push_bulk(out, command.name.as_bytes());
    push_integer(out, i64::from(command.arity));
    let flags: Vec<_> = FLAG_NAMES.iter().filter(|(flag, _)| command.flags & flag != 0).collect();
    push_set(out, resp3, flags.len());
    flags.into_iter().for_each(|(_, name)| push_simple(out, name));
    for place in [command.keys.0, command.keys.1, command.keys.2] {
        push_integer(out, i64::from(place));
    }
    let categories = categories(command);
    push_set(out, resp3, categories.len());
    categories.iter().for_each(|category| push_simple(out, &format!("@{category}")));
    // Hints, key specifications, subcommands: none.
    push_array(out, 0);
    push_array(out, 0);
    push_array(out, 0);
}

/// The categories of access control that Redis has a command in.
fn categories(command: &Command) -> Vec<&'static str> {
    let flag = |flag: u16, name: &'static str| (command.flags & flag != 0).then_some(name);
    let group = match command.group {
        "generic" => "keyspace",
        "sorted-set" => "sortedset",
        "transactions" => "transaction",
        "server" | "cluster" => "",
        group => group,
    };
    let found = [
        flag(WRITE, "write"),
        flag(READONLY, "read"),
        Some(group).filter(|group| !group.is_empty()),
        flag(ADMIN, "admin"),
        flag(ADMIN, "dangerous"),
        flag(BLOCKING, "blocking"),
        Some(if command.flags & FAST != 0 { "fast" } else { "slow" }),
    ];
    found.into_iter().flatten().collect()
}

/// COMMAND LIST.
fn list(out: &mut Vec<u8>, arguments: Arguments<'_>) {
    let (length, by, value) = (arguments.len(), arguments.at(3), arguments.at(4));
    let is = |name: &str| by.eq_ignore_ascii_case(name.as_bytes());
    let wanted: Vec<&Command> = match length {
        2 => COMMANDS.iter().collect(),
        5 if arguments.at(2).eq_ignore_ascii_case(b"FILTERBY") => {
            if is("MODULE") {
                Vec::new()
            } else if is("PATTERN") {
                COMMANDS.iter().filter(|command| glob::matches(value, command.name.as_bytes())).collect()
            } else if is("ACLCAT") {
                let has = |command: &&Command| {
                    categories(command).iter().any(|category| value.eq_ignore_ascii_case(category.as_bytes()))
                };
                COMMANDS.iter().filter(has).collect()
            } else {
                return push_error(out, SYNTAX);
            }
        }
        _ => return push_error(out, SYNTAX),
    };
    push_array(out, wanted.len());
    wanted.into_iter().for_each(|command| push_bulk(out, command.name.as_bytes()));
}

fn push_docs(out: &mut Vec<u8>, resp3: bool, command: &Command) {
    push_bulk(out, command.name.as_bytes());
    push_map(out, resp3, 3);
    for (field, value) in [("summary", command.summary), ("since", command.since), ("group", command.group)] {
        push_bulk(out, field.as_bytes());
        push_bulk(out, value.as_bytes());
    }
}

/// COMMAND GETKEYS and GETKEYSANDFLAGS, whose arguments from the third on are a command.
fn push_keys(out: &mut Vec<u8>, resp3: bool, arguments: Arguments<'_>, with_flags: bool) {
    let length = arguments.len() - 2;
    let Some(command) = command::find(arguments.at(2)) else {
        return push_error(out, "ERR Invalid command specified");
    };
    if !command.accepts(length) {
        return push_error(out, "ERR Invalid number of arguments specified for command");
    }
    let places = command.key_places(length, |at| arguments.at(at + 2));
    if places.is_empty() {
        return push_error(out, "ERR The command has no key arguments");
    }
    push_array(out, places.len());
    // Which of its keys a command writes is not in the table.
    let flags = if command.flags & WRITE != 0 { ["RW", "update"] } else { ["RO", "access"] };
    for place in places {
        if with_flags {
            push_array(out, 2);
        }
        push_bulk(out, arguments.at(place + 2));
        if with_flags {
            push_set(out, resp3, 2);
            flags.iter().for_each(|flag| push_simple(out, flag));
        }
    }
}
