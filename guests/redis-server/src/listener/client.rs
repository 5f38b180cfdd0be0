//! CLIENT. A listener knows its own connection and no other, and says so where that matters.

use super::session::invalid_name;
use super::{Replies, Session, Step, quoted, unknown_subcommand, wrong_arity};
use crate::numbers::parse_i64;
use crate::resp::{
    Arguments, push_array, push_bulk, push_integer, push_lines, push_map, push_null, push_set, push_simple, push_text,
};

const SYNTAX: &str = "ERR syntax error";
const HELP: &[&str] = &[
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GETNAME",
    "    Return the name of the current connection.",
    "GETREDIR",
    "    Return -1: tracking is not supported.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill the connection made from <ip:port>, if it is this one.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill this connection, if it is meant. Options are ADDR, LADDR, TYPE, USER, SKIPME and ID.",
    "LIST [options ...]",
    "    Return information about this connection. Options are TYPE and ID.",
    "NO-EVICT (ON|OFF)",
    "    Do nothing: nothing is evicted.",
    "NO-TOUCH (ON|OFF)",
    "    Do nothing: touches are not counted.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "SETINFO <option> <value>",
    "    Set LIB-NAME or LIB-VER of the current connection.",
    "TRACKINGINFO",
    "    Report tracking status for the current connection, which is off.",
    "HELP",
    "    Print this help.",
];

/// True for CLIENT REPLY with its argument, which decides about replies that are under way.
pub(super) fn is_reply(arguments: Arguments<'_>) -> bool {
    arguments.len() == 3 && arguments.at(1).eq_ignore_ascii_case(b"REPLY")
}

/// What a connection is asked for by LIST and KILL.
#[derive(Default)]
struct Filter<'a> {
    ids: Option<Vec<u64>>,
    kind: Option<&'a [u8]>,
    address: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
    /// KILL does not mean itself unless told to.
    not_me: bool,
    /// LADDR: the address of the server, which the listener is not told.
    elsewhere: bool,
}

fn parse_id(text: &[u8]) -> Option<u64> {
    parse_i64(text).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0)
}

fn parse_kind(text: &[u8]) -> Result<&[u8], String> {
    let known = [&b"normal"[..], b"master", b"replica", b"slave", b"pubsub"];
    match known.iter().find(|known| text.eq_ignore_ascii_case(known)) {
        Some(known) => Ok(known),
        None => Err(format!("ERR Unknown client type '{}'", quoted(text, 128))),
    }
}

impl<'a> Filter<'a> {
    fn of_list(arguments: Arguments<'a>) -> Result<Self, String> {
        let (option, length) = (arguments.at(2), arguments.len());
        let mut filter = Filter::default();
        if option.eq_ignore_ascii_case(b"TYPE") && length == 4 {
            filter.kind = Some(parse_kind(arguments.at(3))?);
        } else if option.eq_ignore_ascii_case(b"ID") && length > 3 {
            let ids: Option<Vec<u64>> = arguments.from(3).map(parse_id).collect();
            filter.ids = Some(ids.ok_or("ERR Invalid client ID")?);
        } else if length != 2 {
            return Err(SYNTAX.to_owned());
        }
        Ok(filter)
    }

    fn of_kill(arguments: Arguments<'a>) -> Result<Self, String> {
        let mut filter = Filter { not_me: true, ..Filter::default() };
        if !arguments.len().is_multiple_of(2) {
            return Err(SYNTAX.to_owned());
        }
        for at in (2..arguments.len()).step_by(2) {
            let (option, value) = (arguments.at(at), arguments.at(at + 1));
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            if is("ID") {
                filter.ids = Some(vec![parse_id(value).ok_or("ERR client-id should be greater than 0")?]);
            } else if is("TYPE") {
                filter.kind = Some(parse_kind(value)?);
            } else if is("ADDR") {
                filter.address = Some(value);
            } else if is("LADDR") {
                filter.elsewhere = true;
            } else if is("USER") {
                if value != b"default" {
                    return Err(format!("ERR No such user '{}'", quoted(value, 128)));
                }
                filter.user = Some(value);
            } else if is("SKIPME") && (value.eq_ignore_ascii_case(b"yes") || value.eq_ignore_ascii_case(b"no")) {
                filter.not_me = value.eq_ignore_ascii_case(b"yes");
            } else {
                return Err(SYNTAX.to_owned());
            }
        }
        Ok(filter)
    }

    fn means(&self, session: &Session<'_>) -> bool {
        let kind: &[u8] = if session.channels.is_empty() { b"normal" } else { b"pubsub" };
        !self.not_me
            && !self.elsewhere
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&session.id))
            && self.kind.is_none_or(|wanted| wanted == kind)
            && self.address.is_none_or(|address| address == session.connection.peer_address().as_bytes())
    }
}

impl Session<'_> {
    pub(super) fn client(&mut self, arguments: Arguments<'_>) {
        let subcommand = arguments.at(1);
        let is =
            |name: &str, length: usize| subcommand.eq_ignore_ascii_case(name.as_bytes()) && arguments.len() == length;
        let resp3 = self.resp3;
        if is("ID", 2) {
            let id = self.id as i64;
            push_integer(self.reply(), id);
        } else if is("GETNAME", 2) {
            let name = self.name.clone();
            if name.is_empty() { push_null(self.reply(), resp3) } else { push_bulk(self.reply(), &name) }
        } else if is("SETNAME", 3) {
            match invalid_name(arguments.at(2)) {
                Some(text) => self.refuse(text),
                None => {
                    self.name = arguments.at(2).to_vec();
                    push_simple(self.reply(), "OK");
                }
            }
        } else if is("SETINFO", 4) {
            self.client_setinfo(arguments.at(2), arguments.at(3));
        } else if is("INFO", 2) {
            let line = self.client_line();
            push_text(self.reply(), resp3, &line);
        } else if subcommand.eq_ignore_ascii_case(b"LIST") {
            match Filter::of_list(arguments) {
                Err(text) => self.refuse(&text),
                Ok(filter) => {
                    let line = if filter.means(self) { self.client_line() } else { String::new() };
                    push_text(self.reply(), resp3, &line);
                }
            }
        } else if subcommand.eq_ignore_ascii_case(b"KILL") && arguments.len() > 2 {
            self.client_kill(arguments);
        } else if is("NO-EVICT", 3) || is("NO-TOUCH", 3) {
            // Nothing is evicted, and nobody counts touches.
            let known = [&b"ON"[..], b"OFF"].iter().any(|word| arguments.at(2).eq_ignore_ascii_case(word));
            if known { push_simple(self.reply(), "OK") } else { self.refuse(SYNTAX) }
        } else if is("REPLY", 3) {
            // Elsewhere it is done before it comes to this.
            self.refuse("ERR CLIENT REPLY is not supported inside MULTI");
        } else if !self.client_tracking(arguments) {
            self.client_unknown(subcommand);
        }
    }

    /// What has to do with tracking, and what needs other connections. False if it is neither.
    fn client_tracking(&mut self, arguments: Arguments<'_>) -> bool {
        let (subcommand, resp3) = (arguments.at(1), self.resp3);
        let is =
            |name: &str, length: usize| subcommand.eq_ignore_ascii_case(name.as_bytes()) && arguments.len() == length;
        if is("GETREDIR", 2) {
            push_integer(self.reply(), -1);
        } else if is("TRACKINGINFO", 2) {
            let out = self.reply();
            push_map(out, resp3, 3);
            push_bulk(out, b"flags");
            push_set(out, resp3, 1);
            push_bulk(out, b"off");
            push_bulk(out, b"redirect");
            push_integer(out, -1);
            push_bulk(out, b"prefixes");
            push_array(out, 0);
        } else if is("TRACKING", 3) && arguments.at(2).eq_ignore_ascii_case(b"OFF") {
            push_simple(self.reply(), "OK");
        } else if ["TRACKING", "CACHING"].iter().any(|name| subcommand.eq_ignore_ascii_case(name.as_bytes())) {
            self.refuse("ERR client tracking is not supported: nobody is told of keys that change");
        } else if is("HELP", 2) {
            push_lines(self.reply(), HELP);
        } else if ["PAUSE", "UNPAUSE", "UNBLOCK"].iter().any(|name| subcommand.eq_ignore_ascii_case(name.as_bytes())) {
            let name = quoted(subcommand, 32).to_ascii_uppercase();
            self.refuse(&format!("ERR CLIENT {name} is not supported: a connection has no influence on others"));
        } else {
            return false;
        }
        true
    }

    fn client_unknown(&mut self, subcommand: &[u8]) {
        let known = [
            "ID",
            "GETNAME",
            "SETNAME",
            "SETINFO",
            "INFO",
            "NO-EVICT",
            "NO-TOUCH",
            "KILL",
            "REPLY",
            "GETREDIR",
            "TRACKINGINFO",
            "HELP",
        ];
        if known.iter().any(|name| subcommand.eq_ignore_ascii_case(name.as_bytes())) {
            self.refuse(&wrong_arity(&format!("client|{}", quoted(subcommand, 32).to_ascii_lowercase())));
        } else {
            self.refuse(&unknown_subcommand("CLIENT", subcommand));
        }
    }

    /// CLIENT REPLY.
    pub(super) fn client_reply(&mut self, mode: &[u8]) -> Step {
        let is = |name: &str| mode.eq_ignore_ascii_case(name.as_bytes());
        // Replies to earlier commands go by what was said before.
        self.flush_out()?;
        if is("ON") {
            self.replies = Replies::All;
            push_simple(&mut self.out, "OK");
        } else if is("OFF") {
            self.replies = Replies::None;
        } else if is("SKIP") {
            if self.replies != Replies::None {
                self.replies = Replies::SkipNext;
            }
        } else {
            self.refuse(SYNTAX);
        }
        Ok(())
    }

    fn client_kill(&mut self, arguments: Arguments<'_>) {
        if arguments.len() == 3 {
            // The old form.
            if arguments.at(2) != self.connection.peer_address().as_bytes() {
                return self.refuse("ERR No such client");
            }
            push_simple(self.reply(), "OK");
            self.closing = true;
            return;
        }
        match Filter::of_kill(arguments) {
            Err(text) => self.refuse(&text),
            Ok(filter) => {
                let me = filter.means(self);
                push_integer(self.reply(), i64::from(me));
                self.closing |= me;
            }
        }
    }

    fn client_setinfo(&mut self, attribute: &[u8], value: &[u8]) {
        let (field, name) = if attribute.eq_ignore_ascii_case(b"LIB-NAME") {
            (&mut self.library.0, "lib-name")
        } else if attribute.eq_ignore_ascii_case(b"LIB-VER") {
            (&mut self.library.1, "lib-ver")
        } else {
            return self.refuse(&format!("ERR Unrecognized option '{}'", quoted(attribute, 128)));
        };
        if invalid_name(value).is_some() {
            return self.refuse(&format!("ERR {name} cannot contain spaces, newlines or special characters."));
        }
        *field = value.to_vec();
        push_simple(self.reply(), "OK");
    }

    /// This connection, as CLIENT LIST shows one.
    fn client_line(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        format!(
            "id={} addr={} laddr=0.0.0.0:6379 fd=-1 name={} age={} idle=0 flags={} db={} sub={} psub={} ssub={} multi=-1 watch={} \
             qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={} oll=0 omem=0 tot-mem=0 events=r cmd=client user=default \
             redir=-1 resp={} lib-name={} lib-ver={}\n",
            self.id,
            self.connection.peer_address(),
            text(&self.name),
            self.opened.elapsed().as_secs(),
            if self.channels.is_empty() { "N" } else { "P" },
            self.database,
            self.channels.counts()[0],
            self.channels.counts()[1],
            self.channels.counts()[2],
            self.watched.len(),
            self.out.len(),
            if self.resp3 { 3 } else { 2 },
            text(&self.library.0),
            text(&self.library.1),
        )
    }
}
