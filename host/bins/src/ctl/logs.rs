//! `recoilctl logs`: every node keeps its own part of an app's log, so every node is asked.

use std::sync::{Mutex, PoisonError};

use futures::future::join_all;
use recoil_gateway::api::{LogLine, Status};

use super::output::utc;
use super::uninstall::path_segment;
use super::{Format, Output, VerbError, nodes};
use crate::client::{Client, ClientError};
use crate::say::complain;

#[derive(Debug, clap::Args)]
pub(super) struct Logs {
    /// The app.
    name: String,
    /// Go on with new lines as they are written, until Ctrl-C.
    #[arg(short, long)]
    follow: bool,
}

impl Logs {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        let name = path_segment(&self.name)?;
        let status: Status = client.get("/v1/status").await?;
        let clients = nodes::clients(client, &status);
        if self.follow { follow(&clients, name, output).await } else { whole(&clients, name, output).await }
    }
}

async fn whole(clients: &[Client], name: &str, output: &mut Output) -> Result<(), VerbError> {
    let path = format!("/v1/apps/{name}/logs");
    let asked = clients.iter().map(async |client| {
        let mut lines = Vec::new();
        let result = client.lines(&path, |text| take(text, &mut lines)).await;
        (lines, result)
    });
    let mut lines = Vec::new();
    let mut results = Vec::new();
    for (of_node, result) in join_all(asked).await {
        lines.extend(of_node);
        results.push(result);
    }
    lines.sort_by_key(|line| (line.time_us, line.node, line.sequence));
    for line in &lines {
        print(line, output)?;
    }
    report(results)
}

async fn follow(clients: &[Client], name: &str, output: &mut Output) -> Result<(), VerbError> {
    let path = format!("/v1/apps/{name}/logs?follow=true");
    // All streams are read by this one task; the lock only satisfies the compiler and is never waited for.
    let printed = Mutex::new((output, Ok(())));
    let asked = clients.iter().map(async |client| {
        client
            .lines(&path, |text| {
                let mut lines = Vec::new();
                take(text, &mut lines);
                let mut printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
                for line in &lines {
                    if let Err(error) = print(line, printed.0) {
                        printed.1 = Err(error);
                    }
                }
                printed.1.is_ok()
            })
            .await
    });
    let results = join_all(asked).await;
    printed.into_inner().unwrap_or_else(PoisonError::into_inner).1?;
    report(results)
}

/// A line of a later version is shown as far as it can be read, which here means: not at all.
fn take(text: &[u8], lines: &mut Vec<LogLine>) -> bool {
    match serde_json::from_slice(text) {
        Ok(line) => lines.push(line),
        Err(error) => complain(format!("recoilctl: a line of the log cannot be read: {error}")),
    }
    true
}

fn print(line: &LogLine, output: &mut Output) -> std::io::Result<()> {
    match output.format() {
        Format::Json => return output.line(&serde_json::to_string(line).map_err(std::io::Error::other)?),
        Format::Yaml => {
            output.line("---")?;
            return output.value(line);
        }
        Format::Table => {}
    }
    let place = line.partition.map_or("listener".to_owned(), |partition| format!("partition {partition}"));
    output.line(&format!("{} {} {:5} {place}: {}", utc(line.time_us), line.node, line.level, line.message))
}

/// A node that cannot be asked costs its own lines only; that none could be asked is a failure.
fn report(results: Vec<Result<(), ClientError>>) -> Result<(), VerbError> {
    let all = results.len();
    let mut errors: Vec<ClientError> = results.into_iter().filter_map(Result::err).collect();
    if errors.len() == all {
        return errors.pop().map_or(Ok(()), |error| Err(error.into()));
    }
    for error in errors {
        complain(format!("recoilctl: lines are missing: {error}"));
    }
    Ok(())
}
