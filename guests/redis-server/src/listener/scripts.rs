//! EVAL, FCALL and SCRIPT: the listener's half. The other, with what is kept where, is [`crate::scripts`].
//!
//! A script is one call to the partition of its keys, which must all be on one. It may have to be sent again: with its text, or
//! with the tags of keys that it touches and has not declared, or alone, because its reply is large. A rejected attempt has
//! written nothing. So EVAL and EVALSHA are the last calls to their partition in a crossing of the pipeline, and those of
//! different partitions run side by side; functions have crossings of their own. A script without keys runs where the first key is that it touches; one that touches none, on the
//! home of its digest, or of its function's name.

use std::collections::{BTreeMap, VecDeque};

use recoil_sdk::encoding::push_bytes;
use recoil_sdk::{CallError, ConnectionError, Mode, RoutedCall};

use super::places::wanted_routing;
use super::{Session, Step, WRITE_BYTES, call_error, crossslot, quoted, unknown_subcommand, wrong_arity};
use crate::command::{Command, Script as ScriptCommand};
use crate::keyspace::databases::ROUTING_CHANGED;
use crate::numbers::parse_i64;
use crate::request::{self, ASK_ALONE, Op, REJECTED_ALONE, Routing, Style, push_number};
use crate::resp::{Arguments, push_array, push_bulk, push_integer, push_simple};
use crate::scripts::engine::Digest;
use crate::scripts::shebang;
use crate::scripts::{
    FLAG_IN_TRANSACTION, FLAG_READ_ONLY, FOUND, NEW_SCRIPT, NO_SCRIPT, SEND_SCRIPT, Script, UNDECLARED,
    from_hexadecimal, hexadecimal, sha1_of,
};

/// The partition of a script without keys within MULTI, until the others are known.
pub(super) const ANYWHERE: u32 = u32::MAX;
/// Tags of undeclared keys that one script may touch; each is one more attempt.
const APPROVED_MAX: usize = 64;
pub(super) const NOT_BUSY: &str = "NOTBUSY No scripts in execution right now.";

/// A script, ready to be sent.
pub(super) struct Invocation {
    pub(super) partition: u32,
    pub(super) request: Vec<u8>,
    pub(super) mode: Mode,
}

/// What there is to know of a run of EVAL or EVALSHA when it is answered.
pub(super) struct ScriptRun {
    digest: Digest,
    /// None of EVALSHA.
    text: Option<Vec<u8>>,
    /// The partition that keeps the text for the others.
    home: u32,
}

/// Texts of scripts that this session has sent lately, and their digests: clients send the same few again and again.
#[derive(Default)]
pub(super) struct Digests(VecDeque<(Vec<u8>, Digest)>);

impl Digests {
    const TEXTS_MAX: usize = 8;
    const TEXT_BYTES_MAX: usize = 16 << 10;

    fn get(&self, text: &[u8]) -> Option<Digest> {
        self.0.iter().find(|(known, _)| known == text).map(|(_, digest)| *digest)
    }

    /// False if it was there.
    fn insert(&mut self, text: &[u8], digest: Digest) -> bool {
        if self.get(text).is_some() {
            return false;
        }
        if text.len() <= Digests::TEXT_BYTES_MAX {
            self.0.truncate(Digests::TEXTS_MAX - 1);
            self.0.push_front((text.to_vec(), digest));
        }
        true
    }
}

/// How a step says that the connection has ended.
const GONE: &str = "";

fn gone(_: ConnectionError) -> String {
    GONE.to_owned()
}

/// True for a call that has written nothing, and may succeed when it is sent again alone.
fn is_worth_another_attempt(error: &CallError) -> bool {
    Undeclared::parse(error).is_some() || matches!(error, CallError::Rejected(why) if why == REJECTED_ALONE)
}

/// Hash tags by partition that scripts may touch without declaring a key of them.
#[derive(Default)]
pub(super) struct Approved(BTreeMap<u32, Vec<Vec<u8>>>);

impl Approved {
    /// The request with the tags of its partition.
    pub(super) fn wrap(&self, partition: u32, request: Vec<u8>) -> Vec<u8> {
        let Some(tags) = self.0.get(&partition) else { return request };
        let mut list = Vec::new();
        tags.iter().for_each(|tag| push_bytes(&mut list, tag));
        request::encode(Op::Approved, Style::INTERNAL, [&list[..], &request])
    }
}

/// A key that a script has touched and not declared.
struct Undeclared {
    partition: u32,
    tag: Vec<u8>,
    key: Vec<u8>,
}

impl Undeclared {
    fn parse(error: &CallError) -> Option<Self> {
        let CallError::Rejected(why) = error else { return None };
        let mut words = why.strip_prefix(UNDECLARED)?.strip_prefix(' ')?.split(' ');
        let (partition, tag, key) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
        Some(Undeclared { partition, tag: from_hexadecimal(tag.as_bytes())?, key: from_hexadecimal(key.as_bytes())? })
    }

    fn refuse(&self, why: &str) -> CallError {
        CallError::Rejected(format!("ERR Script attempted to access the key '{}' {why}", quoted(&self.key, 128)))
    }
}

impl Session<'_> {
    pub(super) fn script_command(&mut self, which: ScriptCommand, command: &Command, arguments: Arguments<'_>) -> Step {
        if !matches!(which, ScriptCommand::Eval { .. }) {
            self.flush()?;
        }
        let mut result = self.run_script_command(which, command, arguments);
        if !self.routing_is_known && matches!(&result, Err(text) if text == ROUTING_CHANGED) {
            // The first of the session: nothing has been done yet.
            result = wanted_routing().and_then(|wanted| self.resolve_routing(wanted));
            result = result.and_then(|()| self.run_script_command(which, command, arguments));
        }
        if let Err(text) = result {
            if text == GONE {
                return Err(ConnectionError::Closed);
            }
            self.answer_error(&text);
        }
        self.write_out(WRITE_BYTES)
    }

    fn run_script_command(
        &mut self,
        which: ScriptCommand,
        command: &Command,
        arguments: Arguments<'_>,
    ) -> Result<(), String> {
        match which {
            ScriptCommand::Eval { by_digest, read_only } => self.eval(command, by_digest, read_only, arguments),
            ScriptCommand::FCall { read_only } => self.fcall(command, read_only, arguments),
            ScriptCommand::Texts => self.script(arguments),
            ScriptCommand::Function => self.function(arguments),
        }
    }

    /// Make calls until no script among them touches a key that is not known to be of its partition.
    pub(super) fn with_approval<T>(
        &self,
        mut attempt: impl FnMut(&Approved) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let mut approved = Approved::default();
        loop {
            let error = match attempt(&approved) {
                Err(error) => error,
                answer => return answer,
            };
            let Some(undeclared) = Undeclared::parse(&error) else { return Err(error) };
            if self.router.locate(&undeclared.tag).id != undeclared.partition {
                return Err(undeclared.refuse(
                    "which is not on the partition of the script's keys: name the keys of a script with one hash tag, as in \
                     {user1}:a and {user1}:b",
                ));
            }
            let tags = approved.0.entry(undeclared.partition).or_default();
            if tags.len() >= APPROVED_MAX || tags.contains(&undeclared.tag) {
                return Err(
                    undeclared.refuse("without declaring it, and more than 64 others: declare its keys in KEYS")
                );
            }
            tags.push(undeclared.tag);
        }
    }

    /// Run a script on its partition, and again as long as it touches keys that are there and that it has not declared.
    fn send_script(&self, invocation: &Invocation) -> Result<Vec<u8>, CallError> {
        self.with_approval(|approved| {
            let request = approved.wrap(invocation.partition, invocation.request.clone());
            self.router.call(&RoutedCall::to_partition(invocation.partition, request, invocation.mode))
        })
    }

    /// Run a script without keys: where the first key is that it touches.
    fn invoke(&self, invocation: &mut Invocation) -> Result<Vec<u8>, CallError> {
        let first = RoutedCall::to_partition(invocation.partition, invocation.request.clone(), invocation.mode);
        let answer = self.router.call(&first);
        match answer.as_ref().err().and_then(Undeclared::parse) {
            None => answer,
            Some(undeclared) => {
                invocation.partition = self.router.locate(&undeclared.tag).id;
                self.send_script(invocation)
            }
        }
    }

    /// Put a script into the pipeline. Nothing follows it there to its partition, so that it can be sent again.
    fn script_in_pipeline(&mut self, mut invocation: Invocation, run: ScriptRun) -> Result<(), String> {
        let routing = self.routing;
        request::bound(&mut invocation.request);
        let call = RoutedCall::to_partition(invocation.partition, invocation.request, invocation.mode);
        self.push_script(call, run).map_err(gone)?;
        // Making room may have taught the session another rule for keys.
        if self.routing == routing { Ok(()) } else { self.flush().map_err(gone) }
    }

    /// The reply of a script whose first attempt was answered so.
    pub(super) fn finish_script(
        &self,
        mut invocation: Invocation,
        run: &ScriptRun,
        first: Result<Vec<u8>, CallError>,
    ) -> Result<Vec<u8>, String> {
        request::unbound(&mut invocation.request);
        let text_of = |error: CallError| call_error(&error);
        let mut answer = match first {
            Ok(answer) if answer == [ASK_ALONE] => self.send_script(&invocation).map_err(text_of)?,
            Ok(answer) => answer,
            Err(error) if is_worth_another_attempt(&error) => self.send_script(&invocation).map_err(text_of)?,
            Err(error) => return Err(call_error(&error)),
        };
        if answer == [SEND_SCRIPT] {
            let text = match &run.text {
                Some(text) => text.clone(),
                None => self.fetch_script(&run.digest).map_err(text_of)?.ok_or(NO_SCRIPT)?,
            };
            let error = self.put_script(invocation.partition, &text).map_err(text_of)?;
            if !error.is_empty() {
                return Ok(error); // the text is no script
            }
            answer = self.send_script(&invocation).map_err(text_of)?;
            if answer == [SEND_SCRIPT] {
                return Err(NO_SCRIPT.to_owned()); // removed meanwhile
            }
        }
        if let Some(reply) = answer.strip_prefix(&[NEW_SCRIPT]) {
            // The script has run whatever becomes of these: without them EVALSHA may answer NOSCRIPT, and clients send it again.
            for partition in [run.home, invocation.partition] {
                if let Some(text) = &run.text
                    && (partition != invocation.partition || invocation.mode == Mode::Read)
                {
                    drop(self.put_script(partition, text));
                }
            }
            return Ok(reply.to_vec());
        }
        Ok(answer)
    }

    fn eval(
        &mut self,
        command: &Command,
        by_digest: bool,
        read_only: bool,
        arguments: Arguments<'_>,
    ) -> Result<(), String> {
        let (digest, has_keys) = self.checked(command, by_digest, arguments)?;
        let text = (!by_digest).then(|| arguments.at(1));
        // A text that this session has sent before is known where it has run.
        let known = text.is_some_and(|text| !self.digests.insert(text, digest));
        let (op, script) = match text {
            Some(text) if !known => (Op::Eval, text),
            _ => (Op::EvalSha, &digest[..]),
        };
        let flags = if read_only { FLAG_READ_ONLY } else { 0 };
        let home = self.router.locate(hexadecimal(&digest).as_bytes()).id;
        let mut invocation = self.invocation(op, (flags, script), home, command, arguments)?;
        invocation.mode = eval_mode(read_only, text);
        let run = ScriptRun { digest, text: text.map(<[u8]>::to_vec), home };
        if has_keys || self.routing == Routing::Database {
            return self.script_in_pipeline(invocation, run);
        }
        self.flush().map_err(gone)?;
        let answer = self.invoke(&mut invocation);
        let reply = self.finish_script(invocation, &run, answer)?;
        self.out.extend_from_slice(&reply);
        Ok(())
    }

    /// The digest of a command's script, and whether it has keys; the error of its arguments.
    fn checked(
        &self,
        command: &Command,
        by_digest: bool,
        arguments: Arguments<'_>,
    ) -> Result<([u8; 20], bool), String> {
        let digest = match by_digest {
            true => from_hexadecimal(arguments.at(1)).and_then(|digest| digest.try_into().ok()).ok_or(NO_SCRIPT)?,
            false => self.digests.get(arguments.at(1)).unwrap_or_else(|| sha1_of(arguments.at(1))),
        };
        let count = key_count(arguments, "ERR value is not an integer or out of range")?;
        debug_assert!(command.accepts(arguments.len()));
        Ok((digest, count > 0))
    }

    /// A script or function with its arguments, for the partition of its keys, or for `home`.
    fn invocation(
        &self,
        op: Op,
        (flags, script): (u64, &[u8]),
        home: u32,
        command: &Command,
        arguments: Arguments<'_>,
    ) -> Result<Invocation, String> {
        let count = parse_i64(arguments.at(2)).and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
        let places: Vec<usize> = (3..3 + count as usize).collect();
        let partition = match places.is_empty() && self.routing == Routing::Key {
            true => home,
            false => {
                let address = self.common_address(arguments, &places).ok_or_else(|| crossslot(command.name))?;
                self.partition_at(&address)
            }
        };
        let mut request = request::begin(op, self.style(), false, arguments.bytes() + 4 * arguments.len() + 32);
        push_number(&mut request, flags);
        push_bytes(&mut request, script);
        push_number(&mut request, count);
        arguments.from(3).for_each(|argument| push_bytes(&mut request, argument));
        Ok(Invocation { partition, request, mode: Mode::Write })
    }

    /// A script within MULTI.
    pub(super) fn invocation_in_transaction(
        &self,
        which: ScriptCommand,
        command: &Command,
        arguments: Arguments<'_>,
    ) -> Result<Invocation, String> {
        match which {
            ScriptCommand::Eval { by_digest, read_only } => {
                let (digest, _) = self.checked(command, by_digest, arguments)?;
                let flags = FLAG_IN_TRANSACTION | if read_only { FLAG_READ_ONLY } else { 0 };
                // The batch cannot ask for a text, so it is given along.
                let text = match by_digest {
                    true => self.fetch_script(&digest).map_err(|error| call_error(&error))?,
                    false => {
                        let exists =
                            RoutedCall::read(hexadecimal(&digest).as_bytes(), script_request(Script::Exists, &digest));
                        if self.router.call(&exists).is_ok_and(|reply| reply == b":0\r\n") {
                            let home = self.router.locate(hexadecimal(&digest).as_bytes()).id;
                            drop(self.put_script(home, arguments.at(1)));
                        }
                        Some(arguments.at(1).to_vec())
                    }
                };
                let (op, script) = text.as_deref().map_or((Op::EvalSha, &digest[..]), |text| (Op::Eval, text));
                let mut invocation = self.invocation(op, (flags, script), ANYWHERE, command, arguments)?;
                invocation.mode = eval_mode(read_only, None);
                Ok(invocation)
            }
            ScriptCommand::FCall { read_only } => {
                key_count(arguments, "ERR Bad number of keys provided")?;
                let flags = FLAG_IN_TRANSACTION | if read_only { FLAG_READ_ONLY } else { 0 };
                let mut invocation =
                    self.invocation(Op::FCall, (flags, arguments.at(1)), ANYWHERE, command, arguments)?;
                invocation.mode = eval_mode(read_only, None);
                Ok(invocation)
            }
            ScriptCommand::Texts | ScriptCommand::Function => {
                Err(format!("ERR {} is not supported inside MULTI", command.name.to_ascii_uppercase()))
            }
        }
    }

    fn fcall(&mut self, command: &Command, read_only: bool, arguments: Arguments<'_>) -> Result<(), String> {
        let has_keys = key_count(arguments, "ERR Bad number of keys provided")? > 0;
        let name = arguments.at(1);
        let home = self.router.locate(&name.to_ascii_lowercase()).id;
        let flags = if read_only { FLAG_READ_ONLY } else { 0 };
        let mut invocation = self.invocation(Op::FCall, (flags, name), home, command, arguments)?;
        invocation.mode = eval_mode(read_only, None);
        let reply = if has_keys { self.send_script(&invocation) } else { self.invoke(&mut invocation) };
        let reply = reply.map_err(|error| call_error(&error))?;
        self.out.extend_from_slice(&reply);
        Ok(())
    }

    /// The text of a script, from its home.
    fn fetch_script(&self, digest: &[u8; 20]) -> Result<Option<Vec<u8>>, CallError> {
        let request = script_request(Script::Get, digest);
        let answer = self.router.call(&RoutedCall::read(hexadecimal(digest).as_bytes(), request))?;
        match answer.split_first() {
            Some((&FOUND, text)) => Ok(Some(text.to_vec())),
            _ => Ok(None),
        }
    }

    /// Keep a script on a partition. An error reply, for what is no script, is answered as text.
    fn put_script(&self, partition: u32, text: &[u8]) -> Result<Vec<u8>, CallError> {
        self.router.call(&RoutedCall::to_partition(partition, script_request(Script::Put, text), Mode::Write))
    }

    fn script(&mut self, arguments: Arguments<'_>) -> Result<(), String> {
        let subcommand = arguments.at(1);
        let is = |name: &str| subcommand.eq_ignore_ascii_case(name.as_bytes());
        let arity = |right: bool| match right {
            true => Ok(()),
            false => Err(wrong_arity(&format!("script|{}", quoted(subcommand, 32).to_ascii_lowercase()))),
        };
        if is("LOAD") {
            arity(arguments.len() == 3)?;
            let digest = hexadecimal(&sha1_of(arguments.at(2)));
            let home = self.router.locate(digest.as_bytes()).id;
            let error = self.put_script(home, arguments.at(2)).map_err(|error| call_error(&error))?;
            if error.is_empty() {
                push_bulk(&mut self.out, digest.as_bytes())
            } else {
                self.out.extend_from_slice(&error)
            }
        } else if is("EXISTS") {
            arity(arguments.len() >= 3)?;
            self.scripts_exist(arguments)?;
        } else if is("FLUSH") {
            let known = |option: &[u8]| option.eq_ignore_ascii_case(b"ASYNC") || option.eq_ignore_ascii_case(b"SYNC");
            if arguments.len() > 3 || arguments.from(2).any(|option| !known(option)) {
                return Err("ERR SCRIPT FLUSH only support SYNC|ASYNC option".to_owned());
            }
            let mut request = request::begin(Op::Script, Style::INTERNAL, false, 12);
            push_number(&mut request, Script::Flush as u64);
            self.write_everywhere(&request)?;
            push_simple(&mut self.out, "OK");
        } else if is("KILL") {
            arity(arguments.len() == 2)?;
            return Err(NOT_BUSY.to_owned());
        } else if is("HELP") {
            arity(arguments.len() == 2)?;
            self.help(SCRIPT_HELP);
        } else {
            return Err(unknown_subcommand("SCRIPT", subcommand));
        }
        Ok(())
    }

    pub(super) fn help(&mut self, lines: &[&str]) {
        push_array(&mut self.out, lines.len());
        lines.iter().for_each(|line| push_simple(&mut self.out, line));
    }

    fn scripts_exist(&mut self, arguments: Arguments<'_>) -> Result<(), String> {
        let digests: Vec<Option<[u8; 20]>> = arguments
            .from(2)
            .map(|digits| from_hexadecimal(digits).and_then(|digest| digest.try_into().ok()))
            .collect();
        let calls: Vec<_> = digests
            .iter()
            .flatten()
            .map(|digest| RoutedCall::read(hexadecimal(digest).as_bytes(), script_request(Script::Exists, digest)))
            .collect();
        let mut answers = self.router.call_many(&calls).into_iter();
        let mut replies = Vec::new();
        for digest in &digests {
            match digest.and_then(|_| answers.next()) {
                Some(answer) => replies.extend(answer.map_err(|error| call_error(&error))?),
                None => push_integer(&mut replies, 0),
            }
        }
        push_array(&mut self.out, digests.len());
        self.out.extend_from_slice(&replies);
        Ok(())
    }

    /// One write on every partition; the first error.
    pub(super) fn write_everywhere(&self, request: &[u8]) -> Result<(), String> {
        for answer in self.router.scatter(request, Mode::Write) {
            let error = answer.map_err(|error| call_error(&error))?;
            if let Some(error) = error.strip_prefix(b"-") {
                return Err(quoted(error, 1024).trim_end().to_owned());
            }
        }
        Ok(())
    }
}

/// The number of keys, which comes second; `error` if it is none.
fn key_count(arguments: Arguments<'_>, error: &str) -> Result<usize, String> {
    let count = parse_i64(arguments.at(2)).ok_or(error)?;
    if count > arguments.len() as i64 - 3 {
        return Err("ERR Number of keys can't be greater than number of args".to_owned());
    }
    usize::try_from(count).map_err(|_| "ERR Number of keys can't be negative".to_owned())
}

/// A read if the script may not write, as far as that can be seen from here.
fn eval_mode(read_only: bool, text: Option<&[u8]>) -> Mode {
    let no_writes = || {
        text.and_then(|text| shebang::of_script(text).ok()).is_some_and(|(flags, _)| flags & shebang::NO_WRITES != 0)
    };
    if read_only || no_writes() { Mode::Read } else { Mode::Write }
}

fn script_request(which: Script, argument: &[u8]) -> Vec<u8> {
    let mut request = request::begin(Op::Script, Style::INTERNAL, false, argument.len() + 16);
    push_number(&mut request, which as u64);
    push_bytes(&mut request, argument);
    request
}

const SCRIPT_HELP: &[&str] = &[
    "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "EXISTS <sha1> [<sha1> ...]",
    "    Return information about the existence of the scripts in the script cache.",
    "FLUSH [ASYNC|SYNC]",
    "    Flush the Lua scripts cache, on every partition.",
    "KILL",
    "    Answers NOTBUSY: a script ends by itself or by its budget.",
    "LOAD <script>",
    "    Load a script into the scripts cache without executing it.",
    "HELP",
    "    Print this help.",
];
