//! `recoilctl`: the program `recoil` under its name for operators.

#[path = "../beside.rs"]
mod beside;

fn main() -> std::process::ExitCode {
    beside::become_recoil("recoilctl")
}
