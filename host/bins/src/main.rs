//! The programs, all in one: `recoil`, `recoilctl` and `recoil_simulator` differ in the name that they are started by.
//!
//! One program is linked once and holds everything once. The other two names are small programs that start this one
//! (`beside.rs`), so that each name is a file that can be found, linked to and run.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    match Path::new(&name).file_name().and_then(|name| name.to_str()) {
        Some("recoilctl") => recoil::ctl::main(),
        Some("recoil_simulator") => recoil::simulator::main(),
        _ => recoil::node::main(),
    }
}
