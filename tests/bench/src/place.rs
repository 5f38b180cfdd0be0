//! What figures belong to: a commit and a machine.

use std::process::Command;

use recoil_cluster_tests::root;

/// One line.
pub(crate) fn sentence() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    format!("Commit {}, {processors} processors, clients on the same machine.", commit())
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root()).args(arguments).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(text)
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    // What the programs are made of; a change of the benchmark itself is none of them.
    let changed = git(&["status", "--porcelain", "--", "host", "guests", "sdk", "registry", "wit", "Cargo.lock"]);
    if changed.is_some_and(|changed| !changed.is_empty()) { format!("{commit} with changes") } else { commit }
}
