//! Commands for operators: what they print, and how they end when they go wrong.

use std::sync::Arc;

use bytes::Bytes;
use recoil_engine::admin::{Command, CommandError};
use recoil_engine::{AppCode, BoxFuture, CallError, Limits, PartitionInfo, RoutedCall, Router};
use tokio::sync::mpsc;

use crate::listeners::Echo;
use crate::{ENGINE, FULL, environment, guest, load, log_lines};

/// Prints its first argument.
const ECHOES: &str = "(call $answer (i32.const 0) (i32.load (local.get $at)) (i32.load offset=4 (local.get $at)))";
/// Refuses, with its first argument as the reason.
const REFUSES: &str = "(call $answer (i32.const 1) (i32.load (local.get $at)) (i32.load offset=4 (local.get $at)))";
/// Reads a row, and is done.
const READS: &str = "(call $get (local.get $at) (i32.const 1) (i32.const 512)) (call $answer (i32.const 0) (i32.const 0) (i32.const 0))";

/// A partition that never answers.
struct Silent;

impl Router for Silent {
    fn call_many(&self, _calls: Vec<RoutedCall>) -> BoxFuture<'static, Vec<Result<Bytes, CallError>>> {
        Box::pin(std::future::pending())
    }

    fn transact(&self, _calls: Vec<RoutedCall>) -> BoxFuture<'static, Result<Vec<Bytes>, CallError>> {
        Box::pin(std::future::pending())
    }

    fn locate(&self, key: &[u8]) -> PartitionInfo {
        Echo::default().locate(key)
    }

    fn partitions(&self) -> Vec<PartitionInfo> {
        Vec::new()
    }

    fn subscribe(&self, _topic: Bytes) -> mpsc::Receiver<Bytes> {
        mpsc::channel(1).1
    }
}

fn commands(run: &str) -> Arc<AppCode> {
    load(&ENGINE, &guest::commands(run))
}

async fn run(code: &Arc<AppCode>, limits: Limits, words: &[&str]) -> Result<String, CommandError> {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    code.run_command(words, environment(limits), Arc::new(Echo::default())).await
}

#[tokio::test]
async fn a_command_prints_or_refuses_in_its_own_words() {
    let code = commands(ECHOES);
    assert!(code.roles().admin && code.roles().handler);
    let listed = code.commands(environment(Limits::default()), Arc::new(Echo::default())).await.unwrap();
    let expected = Command { words: vec!["grüße".into()], usage: "NAME".into(), help: "Greets.".into() };
    assert_eq!(listed, [expected]);
    assert_eq!(run(&code, Limits::default(), &["grüße", "a"]).await, Ok("grüße".to_owned()));
    let refused = run(&commands(REFUSES), Limits::default(), &["because"]).await;
    assert_eq!(refused, Err(CommandError::Rejected("because".to_owned())));
    assert_eq!(code.memory_bytes(), 0, "an instance is left behind");
}

#[tokio::test]
async fn a_package_without_the_role_has_no_commands() {
    assert!(!FULL.roles().admin);
    assert_eq!(run(&FULL, Limits::default(), &["a"]).await, Err(CommandError::Absent));
    assert!(!CommandError::Absent.to_string().is_empty());
}

/// Fails if a trap, too much text or a partition that never answers keeps an operator waiting, or is not in the app's log.
#[tokio::test]
async fn what_goes_wrong_ends_and_is_in_the_log_without_its_arguments() {
    let code = commands("unreachable");
    let given = environment(Limits::default());
    let words = vec!["key".to_owned(), "secret".to_owned()];
    let failed = code.run_command(words, given.clone(), Arc::new(Echo::default())).await;
    assert!(matches!(&failed, Err(CommandError::Failed(why)) if why.contains("unreachable")), "{failed:?}");
    let lines = log_lines(&given);
    assert!(lines.len() == 1 && lines[0].contains("'key'") && !lines[0].contains("secret"), "{lines:?}");

    let code = commands("(call $answer (i32.const 0) (i32.const 65536) (i32.const 1000))");
    let mut limits = Limits::default();
    limits.transaction.answer_bytes_max = 999;
    let failed = run(&code, limits, &["a"]).await;
    assert!(matches!(&failed, Err(CommandError::Failed(why)) if why.contains("answer_bytes")), "{failed:?}");

    let limits = Limits { http_ms_max: 50, ..Limits::default() };
    let waited = commands(READS).run_command(vec!["a".into()], environment(limits), Arc::new(Silent)).await;
    assert_eq!(waited, Err(CommandError::TimedOut(50)));
}
