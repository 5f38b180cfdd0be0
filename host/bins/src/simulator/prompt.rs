//! The prompt at a terminal: look at the cluster, take nodes away and bring them back.

use std::io::Write as _;
use std::time::Duration;

use recoil::ctl::{Format, Output, status};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::cluster::Cluster;

const HELP: &str = "\
  status      nodes, partitions, leaders and apps
  kill N      drop node N, counted from 0, as a crash would
  restart N   start it again with the data it had
  quit        stop the cluster (as Ctrl-C does)";

/// How long a restarted node may take before the prompt comes back.
const RESTART_MAX: Duration = Duration::from_secs(60);

/// A line typed by somebody.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Nothing,
    Help,
    Status,
    Kill(usize),
    Restart(usize),
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
            ["quit" | "exit"] => Ok(Command::Quit),
            ["kill" | "restart", ..] => Err(format!("which node? For example: {} 1", words[0])),
            _ => Err(format!("'{line}' is not known here: try help")),
        }
    }
}

/// Read and obey lines until `quit` or the end of the input.
pub(crate) async fn run(cluster: &mut Cluster) -> anyhow::Result<()> {
    println!("Type help for what can be done here");
    let mut lines = lines();
    loop {
        print!("recoil> ");
        let _ = std::io::stdout().flush();
        let line = tokio::select! {
            line = lines.recv() => line,
            why = cluster.next_failure() => {
                println!("\n{why}");
                continue;
            }
        };
        let Some(line) = line else { return Ok(()) };
        let result = match Command::parse(line.trim()) {
            Ok(Command::Quit) => return Ok(()),
            Ok(command) => obey(cluster, command).await.map_err(|error| format!("{error:#}")),
            Err(why) => Err(why),
        };
        if let Err(why) = result {
            println!("{why}");
        }
    }
}

async fn obey(cluster: &mut Cluster, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Nothing | Command::Quit => {}
        Command::Help => println!("{HELP}"),
        Command::Status => status::print(&cluster.status().await?, &mut Output::stdout(Format::Table))?,
        Command::Kill(k) => println!("Recoil node {} is killed", cluster.kill(k).await?),
        Command::Restart(k) => match timeout(RESTART_MAX, cluster.restart(k)).await {
            Ok(result) => result?,
            Err(_) => println!("node {k} runs, and hosts no partition yet: are enough nodes running?"),
        },
    }
    Ok(())
}

/// Lines of the terminal. Reading blocks and cannot be taken back, so it has a thread of its own that the process does not
/// wait for.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    recoil_base::task::spawn_thread("prompt", move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_or_answered_with_what_to_type() {
        assert_eq!(Command::parse(""), Ok(Command::Nothing));
        assert_eq!(Command::parse("  kill   2 "), Ok(Command::Kill(2)));
        assert_eq!(Command::parse("restart 0"), Ok(Command::Restart(0)));
        assert_eq!(Command::parse("exit"), Ok(Command::Quit));
        for (wrong, expected) in [
            ("kill", "which node"),
            ("kill x", "not the number"),
            ("kill -1", "not the number"),
            ("drop table", "try help"),
        ] {
            let error = Command::parse(wrong).unwrap_err();
            assert!(error.contains(expected), "{wrong}: {error}");
        }
    }
}
