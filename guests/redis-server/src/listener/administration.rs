//! Commands for operators, answered for what this server is: nothing is logged as slow, no latency is watched, every
//! acknowledged write is on the disks of a quorum, there are no replicas in the sense of Redis and one user without a password.
//!
//! Invariant: what would need knowledge or influence that a listener does not have is refused with the reason.

use super::session::REDIS_VERSION;
use super::{Session, quoted, unknown_subcommand, wrong_arity};
use crate::command::Session as SessionCommand;
use crate::glob;
use crate::keyspace::hash_tag;
use crate::numbers::{parse_f64, parse_i64};
use crate::resp::{
    Arguments, push_array, push_bulk, push_error, push_integer, push_lines, push_map, push_simple, push_text,
};
use crate::strings::{NOT_AN_INTEGER, SYNTAX};

/// The longest that DEBUG SLEEP sleeps.
const SLEEP_MS_MAX: f64 = 86_400_000.0;
/// The longest text that DEBUG STRINGMATCH-LEN makes.
const MATCH_BYTES_MAX: i64 = 1 << 20;

/// The reply to one of these commands.
pub(super) fn reply(which: SessionCommand, out: &mut Vec<u8>, resp3: bool, arguments: Arguments<'_>) {
    match which {
        SessionCommand::Acl => acl(out, arguments),
        SessionCommand::ClusterInfo => cluster(out, arguments),
        SessionCommand::Latency => latency(out, resp3, arguments),
        SessionCommand::Lolwut => push_text(out, resp3, &format!("Redis ver. {REDIS_VERSION}\n")),
        SessionCommand::PubSub => pubsub(out, arguments),
        SessionCommand::Role => {
            push_array(out, 3);
            push_bulk(out, b"master");
            push_integer(out, 0);
            push_array(out, 0);
        }
        SessionCommand::SlowLog => slow_log(out, arguments),
        SessionCommand::Wait => match check_wait([arguments.at(1)], arguments.at(2)) {
            Ok(_) => push_integer(out, 0),
            Err(text) => push_error(out, text),
        },
        SessionCommand::WaitAof => match check_wait([arguments.at(1), arguments.at(2)], arguments.at(3)) {
            Ok([0 | 1, _]) => {
                push_array(out, 2);
                push_integer(out, 1);
                push_integer(out, 0);
            }
            Ok(_) => push_error(out, "ERR value is out of range, value must between 0 and 1"),
            Err(text) => push_error(out, text),
        },
        _ => push_error(out, "ERR not a command for operators"),
    }
}

fn check_wait<const N: usize>(numbers: [&[u8]; N], timeout: &[u8]) -> Result<[i64; N], &'static str> {
    let mut parsed = [0; N];
    for (parsed, number) in parsed.iter_mut().zip(numbers) {
        *parsed = parse_i64(number).ok_or(NOT_AN_INTEGER)?;
    }
    match parse_i64(timeout) {
        None => Err("ERR timeout is not an integer or out of range"),
        Some(..0) => Err("ERR timeout is negative"),
        Some(_) => Ok(parsed),
    }
}

/// The error of a subcommand with the wrong number of arguments, or that is not there.
fn wrong(out: &mut Vec<u8>, container: &str, arguments: Arguments<'_>, known: &[&str]) {
    let subcommand = arguments.at(1);
    if known.iter().any(|name| subcommand.eq_ignore_ascii_case(name.as_bytes())) {
        let name = format!("{}|{}", container.to_ascii_lowercase(), quoted(subcommand, 32).to_ascii_lowercase());
        return push_error(out, &wrong_arity(&name));
    }
    push_error(out, &unknown_subcommand(container, subcommand));
}

fn slow_log(out: &mut Vec<u8>, arguments: Arguments<'_>) {
    let (subcommand, length) = (arguments.at(1), arguments.len());
    let is = |name: &str| subcommand.eq_ignore_ascii_case(name.as_bytes());
    if is("GET") && length <= 3 {
        if length == 3 && parse_i64(arguments.at(2)).is_none_or(|count| count < -1) {
            return push_error(out, "ERR count should be greater than or equal to -1");
        }
        push_array(out, 0);
    } else if is("LEN") && length == 2 {
        push_integer(out, 0);
    } else if is("RESET") && length == 2 {
        push_simple(out, "OK");
    } else if is("HELP") && length == 2 {
        push_lines(
            out,
            &[
                "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
                "GET [<count>]",
                "    Return top <count> entries from the slowlog, of which there are none.",
                "LEN",
                "    Return the length of the slowlog.",
                "RESET",
                "    Reset the slowlog.",
                "HELP",
                "    Print this help.",
            ],
        );
    } else {
        wrong(out, "SLOWLOG", arguments, &["GET", "LEN", "RESET", "HELP"]);
    }
}

fn latency(out: &mut Vec<u8>, resp3: bool, arguments: Arguments<'_>) {
    let (subcommand, length) = (arguments.at(1), arguments.len());
    let is = |name: &str| subcommand.eq_ignore_ascii_case(name.as_bytes());
    if (is("LATEST") && length == 2) || (is("HISTORY") && length == 3) {
        push_array(out, 0);
    } else if is("RESET") {
        push_integer(out, 0);
    } else if is("HISTOGRAM") {
        push_map(out, resp3, 0);
    } else if is("GRAPH") && length == 3 {
        push_error(out, &format!("ERR No samples available for event '{}'", quoted(arguments.at(2), 128)));
    } else if is("DOCTOR") && length == 2 {
        push_text(out, resp3, "Latency is not watched here: see the metrics of the nodes.");
    } else if is("HELP") && length == 2 {
        push_lines(
            out,
            &[
                "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
                "DOCTOR",
                "    Return a human readable latency analysis report.",
                "GRAPH <event>",
                "    Return an ASCII latency graph for the <event> class.",
                "HISTORY <event>",
                "    Return time-latency samples for the <event> class.",
                "LATEST",
                "    Return the latest latency samples for all events.",
                "RESET [<event> ...]",
                "    Reset latency data of one or more <event> classes.",
                "HISTOGRAM [COMMAND ...]",
                "    Return a cumulative distribution of latencies.",
                "HELP",
                "    Print this help.",
            ],
        );
    } else {
        wrong(out, "LATENCY", arguments, &["LATEST", "HISTORY", "GRAPH", "DOCTOR", "HELP"]);
    }
}

/// Subscribers are counted by nobody: a number would be a guess.
fn pubsub(out: &mut Vec<u8>, arguments: Arguments<'_>) {
    let subcommand = arguments.at(1);
    let is = |name: &str| subcommand.eq_ignore_ascii_case(name.as_bytes());
    if ["NUMPAT", "CHANNELS", "NUMSUB", "SHARDCHANNELS", "SHARDNUMSUB"].into_iter().any(is) {
        let name = quoted(subcommand, 32).to_ascii_uppercase();
        push_error(
            out,
            &format!("ERR PUBSUB {name} is not supported: nobody counts subscribers over the nodes of a cluster"),
        );
    } else {
        wrong(out, "PUBSUB", arguments, &[]);
    }
}

fn acl(out: &mut Vec<u8>, arguments: Arguments<'_>) {
    let (subcommand, length) = (arguments.at(1), arguments.len());
    let is = |name: &str| subcommand.eq_ignore_ascii_case(name.as_bytes());
    if is("WHOAMI") && length == 2 {
        push_bulk(out, b"default");
    } else if is("USERS") && length == 2 {
        push_array(out, 1);
        push_bulk(out, b"default");
    } else if is("LIST") && length == 2 {
        push_array(out, 1);
        push_bulk(out, b"user default on nopass sanitize-payload ~* &* +@all");
    } else {
        wrong(out, "ACL", arguments, &["WHOAMI", "USERS", "LIST"]);
    }
}

/// The server shows itself as a standalone one, which has no slots; what a slot would be is no secret.
fn cluster(out: &mut Vec<u8>, arguments: Arguments<'_>) {
    if arguments.at(1).eq_ignore_ascii_case(b"KEYSLOT") && arguments.len() == 3 {
        return push_integer(out, i64::from(crc16(hash_tag(arguments.at(2))) & 0x3fff));
    }
    push_error(out, "ERR This instance has cluster support disabled");
}

/// CRC-16/XMODEM, which the specification of Redis Cluster names.
fn crc16(input: &[u8]) -> u16 {
    input.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

impl Session<'_> {
    /// DEBUG: what suites use and a session can do.
    pub(super) fn debug(&mut self, arguments: Arguments<'_>) {
        let (subcommand, length) = (arguments.at(1), arguments.len());
        let is = |name: &str| subcommand.eq_ignore_ascii_case(name.as_bytes());
        if is("SLEEP") && length == 3 {
            match parse_f64(arguments.at(2)).filter(|seconds| *seconds >= 0.0) {
                None => self.refuse("ERR value is not a valid float"),
                Some(seconds) => {
                    // Nobody publishes here. Others are not stopped.
                    let nothing = self.router.subscribe(b"\0sleep");
                    _ = nothing.next((seconds * 1000.0).min(SLEEP_MS_MAX) as u32);
                    push_simple(self.reply(), "OK");
                }
            }
        } else if (is("RELOAD") || is("LOADAOF")) && length == 2 {
            // Every acknowledged write is on disk, and every command reads what is stored.
            push_simple(self.reply(), "OK");
        } else if is("SET-ACTIVE-EXPIRE") && length == 3 {
            match arguments.at(2) {
                b"1" => push_simple(self.reply(), "OK"),
                _ => self.refuse("ERR keys are removed by timers when their time comes, which cannot be turned off"),
            }
        } else if is("STRINGMATCH-LEN") && length == 4 {
            match parse_i64(arguments.at(2)).filter(|length| (0..=MATCH_BYTES_MAX).contains(length)) {
                None => self.refuse(NOT_AN_INTEGER),
                Some(length) => {
                    let text = vec![b'a'; length as usize];
                    let matched = glob::matches(arguments.at(3), &text);
                    push_integer(self.reply(), i64::from(matched));
                }
            }
        } else if is("ERROR") && length == 3 {
            let text = quoted(arguments.at(2), 1024);
            self.refuse(&text);
        } else if length == 2 && is("HELP") {
            push_lines(
                self.reply(),
                &[
                    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
                    "ERROR <string>",
                    "    Return a Redis protocol error with <string> as message.",
                    "LOADAOF, RELOAD",
                    "    Do nothing: every command reads what is stored.",
                    "SET-ACTIVE-EXPIRE <1>",
                    "    Do nothing: keys always expire by themselves.",
                    "SLEEP <seconds>",
                    "    Stop this connection for <seconds>. Decimals allowed.",
                    "STRINGMATCH-LEN <len> <pattern>",
                    "    Match a string of <len> letters against <pattern>.",
                    "HELP",
                    "    Print this help.",
                ],
            );
        } else if subcommand.is_empty() {
            self.refuse(SYNTAX);
        } else {
            self.refuse(&format!(
                "ERR DEBUG subcommand '{}' is not supported, or has the wrong number of arguments. Try DEBUG HELP.",
                quoted(subcommand, 128)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(super::crc16(b"123456789"), 0x31c3);
    }
}
