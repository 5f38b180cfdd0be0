//! Commands that need no partition: PING, HELLO, CLIENT, CONFIG, COMMAND, …
//!
//! Invariant: these never wait and never fail; within MULTI they run when EXEC comes to them.

use super::config::config_reply;
use super::introspection::command_reply;
use super::{Session, administration, quoted, wrong_arity};
use crate::command::Session as SessionCommand;
use crate::keys::parse_database;
use crate::numbers::{parse_i64, push_u64};
use crate::resp::{Arguments, push_array, push_bulk, push_error, push_integer, push_map, push_simple};

/// The version of Redis whose commands and texts these are, for clients that look.
pub(crate) const REDIS_VERSION: &str = "7.2.0";
const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const SYNTAX: &str = "ERR syntax error";
/// What a connection's name and the like may come to.
const NAME_BYTES_MAX: usize = 4096;

impl Session<'_> {
    pub(super) fn session_command(&mut self, which: SessionCommand, arguments: Arguments<'_>) {
        match which {
            SessionCommand::Ping => self.ping(arguments),
            SessionCommand::Echo => push_bulk(self.reply(), arguments.at(1)),
            SessionCommand::Hello => self.hello(arguments),
            SessionCommand::Auth => self.auth(arguments),
            SessionCommand::Select => self.select(arguments.at(1)),
            SessionCommand::Quit => {
                push_simple(self.reply(), "OK");
                self.closing = true;
            }
            SessionCommand::Reset => self.reset(),
            SessionCommand::Time => self.time(),
            SessionCommand::Client => self.client(arguments),
            SessionCommand::Command => {
                let resp3 = self.resp3;
                command_reply(self.reply(), resp3, arguments);
            }
            SessionCommand::Config => {
                let resp3 = self.resp3;
                config_reply(self.reply(), resp3, arguments);
            }
            SessionCommand::Debug => self.debug(arguments),
            SessionCommand::Acl
            | SessionCommand::ClusterInfo
            | SessionCommand::Latency
            | SessionCommand::Lolwut
            | SessionCommand::PubSub
            | SessionCommand::Role
            | SessionCommand::SlowLog
            | SessionCommand::Wait
            | SessionCommand::WaitAof => {
                let resp3 = self.resp3;
                administration::reply(which, self.reply(), resp3, arguments);
            }
        }
    }

    fn ping(&mut self, arguments: Arguments<'_>) {
        if arguments.len() > 2 {
            self.refuse(&wrong_arity("ping"));
        } else if !self.resp3 && !self.channels.is_empty() {
            let out = self.reply();
            push_array(out, 2);
            push_bulk(out, b"pong");
            push_bulk(out, arguments.at(1));
        } else if arguments.len() == 2 {
            push_bulk(self.reply(), arguments.at(1));
        } else {
            push_simple(self.reply(), "PONG");
        }
    }

    /// An error reply that spoils no transaction: it may be part of one that is running.
    pub(super) fn refuse(&mut self, text: &str) {
        push_error(self.reply(), text);
    }

    fn hello(&mut self, arguments: Arguments<'_>) {
        let mut resp3 = self.resp3;
        if arguments.len() > 1 {
            resp3 = match parse_i64(arguments.at(1)) {
                Some(2) => false,
                Some(3) => true,
                Some(_) => return self.refuse("NOPROTO unsupported protocol version"),
                None => return self.refuse("ERR Protocol version is not an integer or out of range"),
            };
        }
        let mut name = None;
        let mut at = 2;
        while at < arguments.len() {
            if arguments.at(at).eq_ignore_ascii_case(b"AUTH") && at + 2 < arguments.len() {
                if arguments.at(at + 1) != b"default" {
                    return self.refuse(WRONG_PASSWORD);
                }
                at += 3;
            } else if arguments.at(at).eq_ignore_ascii_case(b"SETNAME") && at + 1 < arguments.len() {
                if let Some(text) = invalid_name(arguments.at(at + 1)) {
                    return self.refuse(text);
                }
                name = Some(arguments.at(at + 1).to_vec());
                at += 2;
            } else {
                return self.refuse(&format!("ERR Syntax error in HELLO option '{}'", quoted(arguments.at(at), 128)));
            }
        }
        self.resp3 = resp3;
        self.name = name.unwrap_or_else(|| std::mem::take(&mut self.name));
        let id = self.id as i64;
        let out = self.reply();
        push_map(out, resp3, 7);
        for (field, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
            push_bulk(out, field.as_bytes());
            push_bulk(out, value.as_bytes());
        }
        push_bulk(out, b"proto");
        push_integer(out, if resp3 { 3 } else { 2 });
        push_bulk(out, b"id");
        push_integer(out, id);
        for (field, value) in [("mode", "standalone"), ("role", "master")] {
            push_bulk(out, field.as_bytes());
            push_bulk(out, value.as_bytes());
        }
        push_bulk(out, b"modules");
        push_array(out, 0);
    }

    /// There is one user, `default`, without a password: any password is right for it, as in Redis.
    fn auth(&mut self, arguments: Arguments<'_>) {
        match arguments.len() {
            2 => self.refuse(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            ),
            3 if arguments.at(1) == b"default" => push_simple(self.reply(), "OK"),
            3 => self.refuse(WRONG_PASSWORD),
            _ => self.refuse(SYNTAX),
        }
    }

    fn select(&mut self, index: &[u8]) {
        match parse_database(index) {
            Ok(database) => {
                self.database = database;
                push_simple(self.reply(), "OK");
            }
            Err(text) => self.refuse(text),
        }
    }

    fn reset(&mut self) {
        self.end_transaction();
        self.channels.clear();
        self.resp3 = false;
        self.database = 0;
        self.name.clear();
        push_simple(self.reply(), "RESET");
    }

    #[allow(clippy::disallowed_methods)] // a listener has no other clock than the one that WASI gives it
    fn time(&mut self) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let out = self.reply();
        push_array(out, 2);
        for number in [now.as_secs(), u64::from(now.subsec_micros())] {
            let mut text = Vec::new();
            push_u64(&mut text, number);
            push_bulk(out, &text);
        }
    }
}

pub(super) fn invalid_name(name: &[u8]) -> Option<&'static str> {
    let valid = name.len() <= NAME_BYTES_MAX && name.iter().all(u8::is_ascii_graphic);
    (!valid).then_some("ERR Client names cannot contain spaces, newlines or special characters.")
}
