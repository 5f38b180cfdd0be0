//! A client's session: reads commands, runs each where the table says, writes replies in order.
//!
//! Invariant: replies leave in the order of the commands, and a command starts only when every earlier one that could
//! matter to it has been answered: calls to one partition keep their order by themselves, and whatever does not go
//! through the [`pipeline`] empties it first. Memory is bounded: by the parser for what comes in, by the pipeline's
//! weights for what comes back, by limits on what MULTI queues and what a reply over many partitions may come to.

mod administration;
mod client;
mod cluster;
mod config;
mod functions;
mod info;
mod introspection;
mod keys;
mod pipeline;
mod places;
mod scripts;
mod session;
mod subscriptions;
mod transactions;
mod waiting;

use std::hash::{BuildHasher, Hasher, RandomState};

use recoil_sdk::{CallError, Connection, ConnectionError, Error, Router};

use crate::command::{self, Command, Run};
use crate::request::Routing;
use crate::resp::{Arguments, COMMAND_BYTES_MAX, Parsed, Parser, push_error};
use pipeline::Pipeline;
pub(crate) use session::REDIS_VERSION;
use subscriptions::Channels;
use transactions::{Queue, Watched};

/// What one read of the connection may bring.
const READ_BYTES_MAX: u32 = 64 << 10;
/// Replies are handed to the connection when they come to this much, and when there is nothing left to do.
const WRITE_BYTES: usize = 64 << 10;
/// What the reply to one command over many keys or partitions may come to.
const REPLY_BYTES_MAX: usize = 16 << 20;

/// What a step of the session ends with: an error means that the connection is gone.
type Step = Result<(), ConnectionError>;

/// Serve one connection until it ends.
pub(crate) fn serve(connection: &mut dyn Connection, router: &dyn Router) -> Result<(), Error> {
    let mut session = Session::new(connection, router);
    match session.run() {
        // How clients usually leave.
        Ok(()) | Err(ConnectionError::Closed | ConnectionError::TimedOut) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The state of a connection.
struct Session<'a> {
    connection: &'a mut dyn Connection,
    router: &'a dyn Router,
    /// Replies not yet handed to the connection.
    out: Vec<u8>,
    pipeline: Pipeline,
    resp3: bool,
    /// A random number, since nobody counts the connections of a cluster.
    id: u64,
    name: Vec<u8>,
    library: (Vec<u8>, Vec<u8>),
    /// Between MULTI and EXEC.
    queue: Option<Queue>,
    watched: Vec<Watched>,
    channels: Channels,
    /// The number of partitions, once asked for.
    partition_count: std::cell::OnceCell<u32>,
    /// The selected one.
    database: u8,
    /// By what keys find their partition, as far as this session knows: see [`places`].
    routing: Routing,
    routing_is_known: bool,
    closing: bool,
    /// What the partitions know a waiting command by: random at first, and one more for each.
    waiting_id: u64,
    /// What the client has sent while a command waited.
    input: Vec<u8>,
    replies: Replies,
    digests: scripts::Digests,
    opened: std::time::Instant,
}

/// Which replies the client wants: CLIENT REPLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replies {
    All,
    None,
    /// Not that to the next command.
    SkipNext,
    /// Not that to the command under way.
    Skipping,
}

impl<'a> Session<'a> {
    fn new(connection: &'a mut dyn Connection, router: &'a dyn Router) -> Self {
        Session {
            connection,
            router,
            out: Vec::new(),
            pipeline: Pipeline::default(),
            resp3: false,
            id: random() >> 16,
            name: Vec::new(),
            library: (Vec::new(), Vec::new()),
            queue: None,
            watched: Vec::new(),
            channels: Channels::default(),
            partition_count: std::cell::OnceCell::new(),
            database: 0,
            routing: Routing::Key,
            routing_is_known: false,
            closing: false,
            waiting_id: random(),
            input: Vec::new(),
            replies: Replies::All,
            digests: scripts::Digests::default(),
            opened: waiting::now(),
        }
    }

    fn run(&mut self) -> Step {
        let mut parser = Parser::default();
        loop {
            loop {
                match parser.next() {
                    Ok(Some(Parsed::Command(arguments))) => self.execute(arguments)?,
                    Ok(Some(Parsed::TooLarge)) => {
                        self.fail(&format!(
                            "ERR the arguments of a command may come to {COMMAND_BYTES_MAX} bytes at most"
                        ));
                    }
                    Ok(None) => break,
                    Err(error) => {
                        self.flush()?;
                        push_error(&mut self.out, &error.0);
                        self.closing = true;
                    }
                }
                if self.closing {
                    return self.flush_out();
                }
            }
            self.flush_out()?;
            if !self.input.is_empty() {
                parser.feed(&std::mem::take(&mut self.input));
                continue;
            }
            if !self.wait_for_input()? {
                continue;
            }
            let input = self.connection.read(READ_BYTES_MAX)?;
            if input.is_empty() {
                return Ok(());
            }
            parser.feed(&input);
        }
    }

    /// Run one command, or queue it, and drop its reply if the client does not want that.
    fn execute(&mut self, arguments: Arguments<'_>) -> Step {
        if self.replies != Replies::SkipNext {
            return self.execute_one(arguments);
        }
        self.flush_out()?;
        self.replies = Replies::Skipping;
        self.execute_one(arguments)?;
        self.flush_out()?;
        if self.replies == Replies::Skipping {
            self.replies = Replies::All;
        }
        Ok(())
    }

    fn execute_one(&mut self, arguments: Arguments<'_>) -> Step {
        self.renew_patterns();
        let name = arguments.at(0);
        // What a browser was made to send: nothing behind it may be taken for commands.
        if name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:") {
            self.closing = true;
            return Ok(());
        }
        let Some(command) = command::find(name) else {
            self.fail(&unknown_command(arguments));
            return Ok(());
        };
        if !command.accepts(arguments.len()) {
            self.fail(&wrong_arity(command.name));
            return Ok(());
        }
        if self.queue.is_some() && self.enqueue(command, arguments) {
            return Ok(());
        }
        if !self.resp3 && !self.channels.is_empty() && !allowed_while_subscribed(command) {
            self.fail(&format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
                command.name
            ));
            return Ok(());
        }
        if let Err(text) = self.check_routing(command) {
            self.fail(&text);
            return Ok(());
        }
        match command.run {
            Run::Partition(op) => self.one(command, op, arguments),
            Run::Together(op) => self.together(command, op, arguments),
            Run::Blocking(which) => self.blocking_command(which, command, arguments),
            Run::SumOverKeys(op) => self.each(command, op, arguments, pipeline::Combine::Sum),
            Run::ArrayOverKeys(op) => self.each(command, op, arguments, pipeline::Combine::Array),
            Run::Session(command::Session::Client) if client::is_reply(arguments) => self.client_reply(arguments.at(2)),
            Run::Session(which) => {
                self.session_command(which, arguments);
                Ok(())
            }
            Run::Cluster(which) => self.cluster_command(which, arguments),
            Run::Keys(which) => self.keys_command(which, command, arguments),
            Run::Transaction(which) => self.transaction_command(which, arguments),
            Run::Subscription(which) => self.subscription_command(which, arguments),
            Run::Script(which) => self.script_command(which, command, arguments),
        }
    }

    /// Where the next reply goes: behind what the pipeline will answer.
    fn reply(&mut self) -> &mut Vec<u8> {
        self.pipeline.text().unwrap_or(&mut self.out)
    }

    /// An error reply. Between MULTI and EXEC it spoils the transaction.
    fn fail(&mut self, text: &str) {
        if let Some(queue) = &mut self.queue {
            queue.spoil();
        }
        push_error(self.reply(), text);
    }

    /// Empty the pipeline and hand all replies to the connection.
    fn flush_out(&mut self) -> Step {
        self.flush()?;
        self.write_out(0)
    }

    /// Hand the replies to the connection if there are more than `above` bytes.
    fn write_out(&mut self, above: usize) -> Step {
        if matches!(self.replies, Replies::None | Replies::Skipping) {
            self.out.clear();
        }
        if self.out.len() > above {
            self.connection.write(&self.out)?;
            self.out.clear();
            self.out.shrink_to(2 * WRITE_BYTES);
        }
        Ok(())
    }

    fn partition_count(&self) -> u32 {
        *self.partition_count.get_or_init(|| self.router.partitions().len() as u32)
    }
}

fn allowed_while_subscribed(command: &Command) -> bool {
    use command::Session::{Ping, Quit, Reset};
    match command.run {
        Run::Subscription(_) => true,
        Run::Session(which) => matches!(which, Ping | Quit | Reset),
        _ => false,
    }
}

/// Text from a client within an error: short, and on one line.
fn quoted(text: &[u8], bytes_max: usize) -> String {
    String::from_utf8_lossy(&text[..text.len().min(bytes_max)]).into_owned()
}

fn unknown_command(arguments: Arguments<'_>) -> String {
    let mut shown = String::new();
    for argument in arguments.from(1) {
        if shown.len() >= 128 {
            break;
        }
        shown.push_str(&format!("'{}' ", quoted(argument, 128 - shown.len())));
    }
    format!("ERR unknown command '{}', with args beginning with: {shown}", quoted(arguments.at(0), 128))
}

fn wrong_arity(name: &str) -> String {
    format!("ERR wrong number of arguments for '{name}' command")
}

fn unknown_subcommand(container: &str, name: &[u8]) -> String {
    format!("ERR unknown subcommand '{}'. Try {container} HELP.", quoted(name, 128))
}

/// The reply for a call that failed.
fn call_error(error: &CallError) -> String {
    match error {
        // What a handler rejects begins with a code of Redis' already.
        CallError::Rejected(why) if has_code(why) => why.clone(),
        CallError::Rejected(why) => format!("ERR {why}"),
        CallError::Failed(why) => format!("ERR the partition failed to run the command, and wrote nothing: {why}"),
        CallError::UnknownOutcome(why) => format!("UNKNOWN The command may or may not have been run: {why}"),
        CallError::Unavailable(why) => format!("CLUSTERDOWN The partition has no leader: {why}"),
        CallError::Conflict => "TRYAGAIN The transaction lost to a conflicting one: try again".to_owned(),
    }
}

fn has_code(text: &str) -> bool {
    text.split_once(' ').is_some_and(|(code, _)| code.len() >= 3 && code.bytes().all(|byte| byte.is_ascii_uppercase()))
}

/// What a transaction over several partitions met: the error for the client.
fn transaction_error(error: &CallError) -> String {
    match error {
        CallError::Rejected(why) if !has_code(why) => format!(
            "CROSSSLOT Keys in request don't hash to the same slot: to keep them together, name them with one hash tag, \
             as in {{user1}}:a and {{user1}}:b ({why})"
        ),
        other => call_error(other),
    }
}

/// The error of a command whose keys have several owners, and must not.
fn crossslot(command: &str) -> String {
    format!(
        "CROSSSLOT Keys in request don't hash to the same slot: name the keys of {} with one hash tag, as in {{user1}}:a and \
         {{user1}}:b",
        command.to_ascii_uppercase()
    )
}

/// A random number, from what the standard library seeds its hash maps with.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
