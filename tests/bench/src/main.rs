//! Measurements of Recoil, a command each.

// Measured against the clock on the wall.
#![allow(clippy::disallowed_methods)]

mod compare;
mod disk;
mod figures;
mod handler;
mod hostile;
mod idle;
mod load;
mod log;
mod meta;
mod moves;
mod outage;
mod packages;
mod partitions;
mod place;
mod rebalance;
mod recovery;
mod s3;
mod servers;
mod snapshot;
mod start;
mod usage;

#[derive(clap::Parser)]
#[command(about = "Measurements of Recoil")]
enum Command {
    /// All of the following but the last two, as a page of Markdown.
    All,
    /// Recoil, Redis and etcd under the same load, in turns.
    Compare(compare::Options),
    /// The disk's own rate of fdatasync.
    Disk(disk::Options),
    /// What is left of a node's log after much has been written.
    Log(log::Options),
    /// Processor time and memory of servers that nobody asks anything.
    Idle(idle::Options),
    /// Time from start to ready, and from install to serving.
    Start(start::Options),
    /// The longest time that a partition is without an answer when a leader is killed.
    Outage(outage::Options),
    /// The call of a handler alone, and the same code native.
    Handler,
    /// What an entry of the meta group costs with 1,000 nodes and 100,000 partitions in the state: bytes and time.
    Meta,
    /// How long partitions are without an answer while they move between nodes, and how many requests fail.
    Moves(moves::Options),
    /// Writes with few and with many partitions.
    Partitions(partitions::Options),
    /// Time until a node that joins has its share of a gigabyte, and until a lost node's replicas are replaced.
    Rebalance(rebalance::Options),
    /// Time until a cluster that holds a gigabyte serves again.
    Recovery(recovery::Options),
    /// How long a snapshot of many partitions that a node loads holds up its other groups.
    Snapshot(snapshot::Options),
    /// Pushes beside Docker's registry, installs, requests to HTTP packages, and a large blob.
    Packages(packages::Options),
    /// Objects of 4 KiB, 1 MiB and 64 MiB, and lists of a large bucket, beside Garage, in turns.
    S3(s3::Options),
    /// redis-server's latency, alone and beside a package that misbehaves.
    Hostile(hostile::Options),
}

/// Everything that `all` measures, and a heading for each.
const ALL: &[(&str, &str)] = &[
    ("disk", "The disk"),
    ("compare", "Beside Redis and etcd"),
    ("handler", "The call of a handler"),
    ("meta", "Entries of the meta group"),
    ("partitions", "Many partitions"),
    ("log", "Size of the log"),
    ("idle", "Idle"),
    ("start", "Start and install"),
    ("outage", "Loss of a leader"),
    ("moves", "Moves of partitions"),
    ("rebalance", "Nodes that join and nodes that are lost"),
    ("recovery", "Recovery"),
    ("snapshot", "Loading a snapshot"),
    ("packages", "Packages"),
];

fn main() -> anyhow::Result<()> {
    run(<Command as clap::Parser>::parse())
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::All => {
            for (name, heading) in ALL {
                println!("## {heading}\n");
                run(<Command as clap::Parser>::try_parse_from(["recoil-bench", name])?)?;
                println!();
            }
            Ok(())
        }
        Command::Compare(options) => compare::run(&options),
        Command::Disk(options) => disk::run(&options),
        Command::Handler => handler::run(),
        Command::Meta => meta::run(),
        Command::Partitions(options) => partitions::run(&options),
        Command::Log(options) => log::run(&options),
        Command::Idle(options) => idle::run(&options),
        Command::Start(options) => start::run(&options),
        Command::Outage(options) => outage::run(&options),
        Command::Moves(options) => moves::run(&options),
        Command::Rebalance(options) => rebalance::run(&options),
        Command::Recovery(options) => recovery::run(&options),
        Command::Snapshot(options) => snapshot::run(&options),
        Command::Packages(options) => packages::run(&options),
        Command::S3(options) => s3::run(&options),
        Command::Hostile(options) => hostile::run(&options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_made_of_commands_that_need_no_options() {
        for (name, _) in ALL {
            <Command as clap::Parser>::try_parse_from(["recoil-bench", name]).unwrap();
        }
    }
}
