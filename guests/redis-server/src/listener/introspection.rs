//! What the server says about itself: COMMAND, CONFIG, and the parts of INFO that need no partition.
//!
//! Invariant: everything here is made from [`COMMANDS`] and the constants below; nothing is configurable at run time, and
//! CONFIG SET says so.

use super::session::REDIS_VERSION;
use super::{quoted, unknown_subcommand, wrong_arity};
use crate::command::{self, COMMANDS, Command, FLAG_NAMES};
use crate::glob;
use crate::resp::{
    Arguments, push_array, push_bulk, push_error, push_integer, push_map, push_null_array, push_set, push_simple,
};

/// What CONFIG GET knows. Every acknowledged write is on the disks of a quorum, which in Redis' words is `appendonly yes`
/// with `appendfsync always`.
const PARAMETERS: [(&str, &str); 10] = [
    ("appendfsync", "always"),
    ("appendonly", "yes"),
    ("databases", "1"),
    ("maxclients", "10000"),
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("notify-keyspace-events", ""),
    ("proto-max-bulk-len", "8388544"),
    ("save", ""),
    ("timeout", "0"),
];

/// CONFIG.
pub(super) fn config_reply(out: &mut Vec<u8>, resp3: bool, arguments: Arguments<'_>) {
    let subcommand = arguments.at(1);
    let is = |name: &str| subcommand.eq_ignore_ascii_case(name.as_bytes());
    if is("GET") && arguments.len() > 2 {
        let asked =
            |name: &str| arguments.from(2).any(|pattern| glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes()));
        let found: Vec<_> = PARAMETERS.iter().filter(|(name, _)| asked(name)).collect();
        push_map(out, resp3, found.len());
        for (name, value) in found {
            push_bulk(out, name.as_bytes());
            push_bulk(out, value.as_bytes());
        }
    } else if is("SET") && arguments.len() > 3 {
        let name = quoted(arguments.at(2), 128);
        push_error(
            out,
            &format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - can't set immutable config: this server is \
                 configured by its cluster"
            ),
        );
    } else if is("RESETSTAT") && arguments.len() == 2 {
        push_simple(out, "OK");
    } else if is("GET") || is("SET") {
        push_error(out, &wrong_arity(&format!("config|{}", quoted(subcommand, 32).to_ascii_lowercase())));
    } else {
        push_error(out, &unknown_subcommand("CONFIG", subcommand));
    }
}

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
        push_array(out, COMMANDS.len());
        COMMANDS.iter().for_each(|command| push_bulk(out, command.name.as_bytes()));
    } else if is("INFO") {
        push_array(out, arguments.len() - 2);
        for name in arguments.from(2) {
            match command::find(name) {
                Some(command) => push_command(out, resp3, command),
                None => push_null_array(out, resp3),
            }
        }
    } else if is("DOCS") {
        let asked = |command: &&Command| {
            arguments.len() == 2 || arguments.from(2).any(|name| name.eq_ignore_ascii_case(command.name.as_bytes()))
        };
        let commands: Vec<_> = COMMANDS.iter().filter(asked).collect();
        push_map(out, resp3, commands.len());
        commands.into_iter().for_each(|command| push_docs(out, resp3, command));
    } else if is("GETKEYS") && arguments.len() > 2 {
        push_keys(out, arguments);
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
    // Categories of access control, hints, key specifications, subcommands: none.
    push_set(out, resp3, 0);
    push_array(out, 0);
    push_array(out, 0);
    push_array(out, 0);
}

fn push_docs(out: &mut Vec<u8>, resp3: bool, command: &Command) {
    push_bulk(out, command.name.as_bytes());
    push_map(out, resp3, 3);
    for (field, value) in [("summary", command.summary), ("since", command.since), ("group", command.group)] {
        push_bulk(out, field.as_bytes());
        push_bulk(out, value.as_bytes());
    }
}

/// COMMAND GETKEYS, whose arguments from the third on are a command.
fn push_keys(out: &mut Vec<u8>, arguments: Arguments<'_>) {
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
    places.into_iter().for_each(|place| push_bulk(out, arguments.at(place + 2)));
}

/// The sections of INFO that need no partition, in their order; `asked` says which are wanted.
pub(super) fn info_sections(client_id: u64, partitions: u32, asked: impl Fn(&str) -> bool) -> String {
    let sections: [(&str, String); 4] = [
        (
            "Server",
            format!(
                "redis_version:{REDIS_VERSION}\r\nserver_name:recoil\r\nrecoil_package:{} {}\r\nredis_mode:standalone\r\n\
                 arch_bits:64\r\nrecoil_partitions:{partitions}\r\n",
                env!("CARGO_PKG_NAME"),
                env!("CARGO_PKG_VERSION"),
            ),
        ),
        ("Clients", format!("connected_clients:1\r\nmaxclients:10000\r\nrecoil_client_id:{client_id}\r\n")),
        (
            "Persistence",
            "loading:0\r\naof_enabled:1\r\naof_last_write_status:ok\r\nrdb_last_bgsave_status:ok\r\n".to_owned(),
        ),
        ("Replication", "role:master\r\nconnected_slaves:0\r\n".to_owned()),
    ];
    let mut text = String::new();
    for (name, body) in sections {
        if asked(name) {
            push_section(&mut text, name, &body);
        }
    }
    text
}

/// One section of INFO.
pub(super) fn push_section(text: &mut String, name: &str, body: &str) {
    if !text.is_empty() {
        text.push_str("\r\n");
    }
    text.push_str(&format!("# {name}\r\n{body}"));
}
