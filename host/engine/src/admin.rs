//! The admin role: an app's own commands for operators.
//!
//! A command runs in an instance of its own, like that of a listener without a connection: it has a router and no partition, and waits on
//! a fiber. It may take as long as it makes progress, which is an answered call to a partition; the limit `http_ms` is the longest time
//! without. Dropping the future ends the instance, and with it the command wherever it is.
//!
//! Invariant: an answer has at most `answer_bytes`. Deliberately absent: who may run a command, and how many run at once.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{ComponentExportIndex, ComponentNamedList, ComponentType, Lift, Lower};

use crate::app_log::LogLevel;
use crate::code::AppCode;
use crate::environment::Environment;
use crate::http::progress::{Progress, WatchedRouter};
use crate::listener::Router;
use crate::listener::courtesy::{self, Computing};
use crate::trap::{self, Circumstances};

/// A command that an app has for its operators.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub struct Command {
    /// The words by which it is called, such as `key` and `create`.
    pub words: Vec<String>,
    /// What follows them, such as `NAME [--bucket BUCKET]`.
    pub usage: String,
    /// What it does, in a sentence.
    pub help: String,
}

/// Why a command has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The package has no commands.
    #[error("the package exports no recoil:plugin/admin: it has no commands")]
    Absent,
    /// No room for another instance.
    #[error("no room for another instance on this node; retry")]
    NoRoom,
    /// The command refused, in its own words.
    #[error("{0}")]
    Rejected(String),
    /// The instance trapped, could not start, or answered too much.
    #[error("the command failed: {0}")]
    Failed(String),
    /// It made no progress for this many milliseconds.
    #[error(
        "the command made no progress for {0} ms (limit http_ms), and was ended: a part of its work may have been done"
    )]
    TimedOut(u32),
}

impl AppCode {
    /// The commands of the package.
    ///
    /// # Errors
    /// See [`CommandError`]; never `Rejected`.
    pub async fn commands(
        self: &Arc<Self>,
        environment: Environment,
        router: Arc<dyn Router>,
    ) -> Result<Vec<Command>, CommandError> {
        let (commands,): (Vec<Command>,) =
            self.command_call(self.exports.commands, (), "its list of commands", environment.clone(), router).await?;
        let text = |command: &Command| command.usage.len() + command.help.len() + command.words.concat().len();
        check_bytes(commands.iter().map(text).sum(), &environment)?;
        Ok(commands)
    }

    /// Runs the command that an operator has typed, and returns what it prints.
    ///
    /// # Errors
    /// See [`CommandError`]. After `Failed` and `TimedOut`, and when the future is dropped, a part of its work may have been done.
    pub async fn run_command(
        self: &Arc<Self>,
        arguments: Vec<String>,
        environment: Environment,
        router: Arc<dyn Router>,
    ) -> Result<String, CommandError> {
        // Arguments may be secrets: the log has the first word only.
        let shown: String = arguments.first().into_iter().flat_map(|word| word.chars().take(40)).collect();
        let what = format!("the command '{}'", shown.escape_debug());
        let (answer,): (Result<String, String>,) =
            self.command_call(self.exports.run, (arguments,), &what, environment.clone(), router).await?;
        let (Ok(text) | Err(text)) = &answer;
        check_bytes(text.len(), &environment)?;
        answer.map_err(CommandError::Rejected)
    }

    /// Calls a function of the role on a new instance.
    async fn command_call<P, R>(
        self: &Arc<Self>,
        export: Option<ComponentExportIndex>,
        parameters: P,
        what: &str,
        environment: Environment,
        router: Arc<dyn Router>,
    ) -> Result<R, CommandError>
    where
        P: ComponentNamedList + Lower + Send + Sync + 'static,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let export = export.ok_or(CommandError::Absent)?;
        let (log, limits) = (environment.log.clone(), environment.limits);
        let computing = Arc::new(Computing::default());
        let courtesy = self.courtesy(computing.clone());
        let progress = Progress::new();
        let router = Arc::new(WatchedRouter { router, progress: progress.clone() });
        let code = self.clone();
        let running = async move {
            let mut store = code.listener_store(None, environment, router, computing);
            let called = async {
                let instance = code.listeners.instantiate_async(&mut store).await?;
                let function = instance.get_typed_func::<P, R>(&mut store, export)?;
                function.call_async(&mut store, parameters).await
            };
            called.await.map_err(|error| {
                if trap::is_pool_exhausted(&error) {
                    return CommandError::NoRoom;
                }
                let memory_refused = store.data_mut().take_refused();
                let circumstances = Circumstances { call_ms_max: limits.call_ms_max, memory_refused };
                CommandError::Failed(trap::describe(&error, circumstances))
            })
        };
        let moved =
            || log.push(LogLevel::Warn, None, &format!("{what} computes for long: it goes on behind everything else"));
        let ended = tokio::select! {
            ended = courtesy::run(courtesy, Box::pin(running), moved) => ended.unwrap_or_else(|why| Err(CommandError::Failed(why))),
            _ = progress.none_for(Duration::from_millis(limits.http_ms_max.into())) => {
                Err(CommandError::TimedOut(limits.http_ms_max))
            }
        };
        if let Err(error) = &ended {
            log.push(LogLevel::Error, None, &format!("{what}: {error}"));
        }
        ended
    }
}

fn check_bytes(bytes: usize, environment: &Environment) -> Result<(), CommandError> {
    let limit = environment.limits.transaction.answer_bytes_max;
    if bytes <= limit {
        return Ok(());
    }
    Err(CommandError::Failed(format!("it printed {bytes} bytes (limit answer_bytes: {limit})")))
}
