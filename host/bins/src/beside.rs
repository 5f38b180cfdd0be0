//! Starting the program `recoil` under another of its names.
//!
//! The process becomes `recoil`: its id, signals, streams and exit code are those of the program that was started. It looks for
//! `recoil` in the folder where the file of the started program is, following links, and nowhere else.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// Becomes `recoil` under `name`. Returns only if that fails.
pub(crate) fn become_recoil(name: &str) -> ExitCode {
    let why = match std::env::current_exe() {
        Ok(here) => {
            let program = here.with_file_name("recoil");
            let error = Command::new(&program).arg0(name).args(std::env::args_os().skip(1)).exec();
            format!("cannot run {}: {error}", program.display())
        }
        Err(error) => format!("cannot find the folder of this program: {error}"),
    };
    let text = format!("{name}: {why}; {name} is part of the program recoil, which must be in the same folder\n");
    // Without anybody to read it there is nothing to be done.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::FAILURE
}
