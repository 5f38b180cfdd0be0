//! Asking the operator before something that cannot be undone, or that brings in code from outside.

use std::io::{self, BufRead as _, IsTerminal as _, Write};

use super::VerbError;

/// Shows what is about to happen and asks whether it should, on a terminal. Fails with `nothing_done` unless the answer is yes, and
/// where there is no terminal to ask on.
pub(super) fn confirm(
    show: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    question: &str,
    nothing_done: &str,
) -> Result<(), VerbError> {
    let stdin = io::stdin();
    let mut stderr = io::stderr();
    show(&mut stderr)?;
    if !stdin.is_terminal() {
        let why = "there is no terminal to ask on: add --yes to do it without a question";
        return Err(VerbError::Local(format!("{nothing_done}: {why}")));
    }
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(VerbError::Local(nothing_done.to_owned())),
    }
}
