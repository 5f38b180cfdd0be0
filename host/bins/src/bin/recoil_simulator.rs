//! `recoil_simulator`: the program `recoil` under its name for a whole cluster in one process.

#[path = "../beside.rs"]
mod beside;

fn main() -> std::process::ExitCode {
    beside::become_recoil("recoil_simulator")
}
