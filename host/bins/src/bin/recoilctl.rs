//! The operators' program; its verbs are in `recoil::ctl`.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = recoil::ctl::Arguments::parse();
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(recoil::ctl::run(arguments)),
        Err(error) => {
            eprintln!("recoilctl: cannot start: {error}");
            ExitCode::from(recoil::exit::FAILED)
        }
    }
}
