//! The prompt at a terminal: look at the cluster, take nodes away and bring them back.
//!
//! Lines are edited, completed and recalled by rustyline, on a thread of its own, since reading a terminal blocks and cannot be
//! taken back. The thread reads a line only when it is asked for one, so that what a command prints stands before the next prompt.
//! The terminal gets back the modes that it had, however the prompt ends. The history of lines is kept in
//! `$XDG_STATE_HOME/recoil/simulator_history` (`~/.local/state` without that variable); where it cannot be written, it lasts as long
//! as the program.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, ExternalPrinter as _, Helper};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::cluster::Cluster;
use crate::ctl::{Format, Output, status};
use crate::say::{complain, say};

const HELP: &str = "\
  status      nodes, partitions, leaders and apps
  kill N      drop node N, counted from 0, as a crash would
  restart N   start it again with the data it had
  add         start a further node, which joins
  drain N     have node N hand over what it leads and take no new connections
  undrain N   have it take part as before
  remove N    have node N give its partitions away, and take it out of the cluster
  isolate N   cut node N off from the other nodes; clients still reach it
  heal        end all isolation
  quit        stop the cluster (as Ctrl-C does)";

/// How long a node may take to give its partitions away before the prompt comes back.
const REMOVE_MAX: Duration = Duration::from_secs(60);
/// How long a restarted node may take before the prompt comes back.
const RESTART_MAX: Duration = Duration::from_secs(60);

const PROMPT: &str = "recoil> ";
/// Lines of history that are kept.
const HISTORY_MAX: usize = 1000;
/// The commands, and whether the number of a node follows.
const COMMANDS: [(&str, bool); 11] = [
    ("add", false),
    ("drain", true),
    ("heal", false),
    ("help", false),
    ("isolate", true),
    ("kill", true),
    ("quit", false),
    ("remove", true),
    ("restart", true),
    ("status", false),
    ("undrain", true),
];

/// A line typed by somebody.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Nothing,
    Help,
    Status,
    Kill(usize),
    Restart(usize),
    Add,
    Drain(usize),
    Undrain(usize),
    Remove(usize),
    Isolate(usize),
    Heal,
    Quit,
}

impl Command {
    fn parse(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number =
            |text: &str| text.parse().map_err(|_| format!("'{text}' is not the number of a node, counted from 0"));
        match words.as_slice() {
            [] => Ok(Command::Nothing),
            ["help" | "?"] => Ok(Command::Help),
            ["status"] => Ok(Command::Status),
            ["kill", k] => Ok(Command::Kill(number(k)?)),
            ["restart", k] => Ok(Command::Restart(number(k)?)),
            ["add"] => Ok(Command::Add),
            ["drain", k] => Ok(Command::Drain(number(k)?)),
            ["undrain", k] => Ok(Command::Undrain(number(k)?)),
            ["remove", k] => Ok(Command::Remove(number(k)?)),
            ["isolate", k] => Ok(Command::Isolate(number(k)?)),
            ["heal"] => Ok(Command::Heal),
            ["quit" | "exit"] => Ok(Command::Quit),
            [command, ..] if COMMANDS.contains(&(*command, true)) => {
                Err(format!("which node? For example: {} 1", words[0]))
            }
            _ => Err(format!("'{line}' is not known here: try help")),
        }
    }
}

/// Read and obey lines until `quit`, Ctrl-C, or the end of the input.
pub(super) async fn run(cluster: &mut Cluster) -> anyhow::Result<()> {
    let _modes = TerminalModes::now();
    let nodes = Arc::new(AtomicUsize::new(cluster.count()));
    let mut editor = editor(nodes.clone())?;
    let mut beside_the_prompt = editor.create_external_printer()?;
    let (ask, asked) = mpsc::channel(1);
    let (answer, mut lines) = mpsc::channel(1);
    recoil_base::task::spawn_thread("prompt", move || read(editor, asked, answer));
    say("Type help for what can be done here");
    loop {
        if ask.send(()).await.is_err() {
            return Ok(());
        }
        let line = loop {
            tokio::select! {
                line = lines.recv() => break line,
                why = cluster.next_failure() => beside_the_prompt.print(format!("{why}\n"))?,
            }
        };
        let Some(line) = line else { return Ok(()) };
        let result = match Command::parse(line.trim()) {
            Ok(Command::Quit) => return Ok(()),
            Ok(command) => obey(cluster, command).await.map_err(|error| format!("{error:#}")),
            Err(why) => Err(why),
        };
        nodes.store(cluster.count(), Ordering::Relaxed);
        if let Err(why) = result {
            say(why);
        }
    }
}

/// The modes of a terminal, set again when dropped: the thread that reads may have changed them and never end.
struct TerminalModes(Option<Termios>);

impl TerminalModes {
    fn now() -> Self {
        TerminalModes(tcgetattr(std::io::stdin()).ok())
    }
}

impl Drop for TerminalModes {
    fn drop(&mut self) {
        if let Some(modes) = &self.0 {
            // A terminal that is gone has no modes.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, modes);
        }
    }
}

fn editor(nodes: Arc<AtomicUsize>) -> anyhow::Result<Editor<Words, FileHistory>> {
    let config = rustyline::Config::builder().max_history_size(HISTORY_MAX)?.auto_add_history(true).build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Words { nodes }));
    if let Some(file) = history_file() {
        // There is none the first time.
        let _ = editor.load_history(&file);
    }
    Ok(editor)
}

/// Reads a line whenever one is asked for, until nobody asks, the input ends, or Ctrl-C.
fn read(mut editor: Editor<Words, FileHistory>, mut asked: mpsc::Receiver<()>, answer: mpsc::Sender<String>) {
    while asked.blocking_recv().is_some() {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => return,
            Err(error) => return complain(format!("recoil_simulator: the terminal cannot be read: {error}")),
        };
        if let Some(file) = history_file() {
            // Without a place for it, the history lasts as long as the program.
            let _ = file.parent().map(std::fs::create_dir_all);
            let _ = editor.append_history(&file);
        }
        if answer.blocking_send(line).is_err() {
            return;
        }
    }
}

fn history_file() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let state = named("XDG_STATE_HOME").or_else(|| Some(named("HOME")?.join(".local/state")))?;
    Some(state.join("recoil/simulator_history"))
}

/// Completes commands and the numbers of nodes.
struct Words {
    nodes: Arc<AtomicUsize>,
}

impl Words {
    /// What the last word of `line` may become, and where that word begins.
    fn complete_line(&self, line: &str) -> (usize, Vec<String>) {
        let start = line.rfind(' ').map_or(0, |space| space + 1);
        let (before, word) = (line[..start].trim(), &line[start..]);
        let candidates: Vec<String> = match before {
            "" => COMMANDS.iter().map(|(name, takes)| format!("{name}{}", if *takes { " " } else { "" })).collect(),
            _ if COMMANDS.contains(&(before, true)) => {
                (0..self.nodes.load(Ordering::Relaxed)).map(|k| k.to_string()).collect()
            }
            _ => vec![],
        };
        (start, candidates.into_iter().filter(|candidate| candidate.starts_with(word)).collect())
    }
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.complete_line(line.get(..at).unwrap_or(line)))
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}

async fn obey(cluster: &mut Cluster, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Nothing | Command::Quit => {}
        Command::Help => say(HELP),
        Command::Status => status::print(&cluster.status()?, &mut Output::stdout(Format::Table))?,
        Command::Kill(k) => say(format!("Recoil node {} is killed", cluster.kill(k).await?)),
        Command::Restart(k) => match timeout(RESTART_MAX, cluster.restart(k)).await {
            Ok(result) => result?,
            Err(_) => say(format!("node {k} runs, and hosts no partition yet: are enough nodes running?")),
        },
        Command::Add => match timeout(RESTART_MAX, cluster.add()).await {
            Ok(result) => result?,
            Err(_) => say("the node runs, and has not joined yet: are enough nodes running?"),
        },
        Command::Drain(k) => {
            let found = cluster.drain(k, "drain").await?;
            say(format!("Recoil node {} is draining; status shows what it still leads", found.id));
        }
        Command::Undrain(k) => {
            say(format!("Recoil node {} takes part as before", cluster.drain(k, "undrain").await?.id));
        }
        Command::Remove(k) => match timeout(REMOVE_MAX, cluster.remove(k)).await {
            Ok(id) => say(format!("Recoil node {} is removed from the cluster", id?)),
            Err(_) => {
                say(format!("node {k} still gives its partitions away: status shows how many; remove {k} waits on"))
            }
        },
        Command::Isolate(k) => {
            say(format!("Recoil node {} reaches no other node, until heal", cluster.isolate(k)?));
        }
        Command::Heal => {
            cluster.heal();
            say("all nodes reach each other");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a command or a node's number is not offered, or something is offered where nothing can follow.
    #[test]
    fn commands_and_numbers_of_nodes_are_completed() {
        let words = Words { nodes: Arc::new(AtomicUsize::new(3)) };
        for (line, start, expected) in [
            (
                "",
                0,
                &[
                    "add", "drain ", "heal", "help", "isolate ", "kill ", "quit", "remove ", "restart ", "status",
                    "undrain ",
                ][..],
            ),
            ("re", 0, &["remove ", "restart "]),
            ("add ", 4, &[]),
            ("kill ", 5, &["0", "1", "2"]),
            ("restart 2", 8, &["2"]),
            ("status ", 7, &[]),
            ("kill 1 ", 7, &[]),
            ("x", 0, &[]),
        ] {
            let (at, offered) = words.complete_line(line);
            assert_eq!(
                (at, offered.iter().map(String::as_str).collect::<Vec<_>>()),
                (start, expected.to_vec()),
                "{line}"
            );
        }
        for (command, takes_a_number) in COMMANDS {
            let line = if takes_a_number { format!("{command} 1") } else { command.to_owned() };
            assert!(Command::parse(&line).is_ok(), "{line}");
        }
    }

    #[test]
    fn lines_are_understood_or_answered_with_what_to_type() {
        assert_eq!(Command::parse(""), Ok(Command::Nothing));
        assert_eq!(Command::parse("  kill   2 "), Ok(Command::Kill(2)));
        assert_eq!(Command::parse("restart 0"), Ok(Command::Restart(0)));
        assert_eq!(Command::parse("exit"), Ok(Command::Quit));
        for (wrong, expected) in [
            ("kill", "which node"),
            ("isolate", "which node"),
            ("add 1", "try help"),
            ("kill x", "not the number"),
            ("kill -1", "not the number"),
            ("drop table", "try help"),
        ] {
            let error = Command::parse(wrong).unwrap_err();
            assert!(error.contains(expected), "{wrong}: {error}");
        }
    }
}
