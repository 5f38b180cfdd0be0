//! Measurements of Recoil, a command each.

// Measured against the clock on the wall.
#![allow(clippy::disallowed_methods)]

mod hostile;

#[derive(clap::Parser)]
#[command(about = "Measurements of Recoil")]
enum Command {
    /// redis-server's latency, alone and beside a package that misbehaves.
    Hostile(hostile::Options),
}

fn main() -> anyhow::Result<()> {
    match <Command as clap::Parser>::parse() {
        Command::Hostile(options) => hostile::run(&options),
    }
}
