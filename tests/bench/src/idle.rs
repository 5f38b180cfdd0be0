//! What servers use that nobody asks anything. All are measured during the same time: idle ones leave each other alone.

use std::thread::sleep;
use std::time::Duration;

use crate::figures::{Table, megabytes, short};
use crate::servers::{Etcd, Recoil, RedisServer, missing};
use crate::usage::{Used, resident_bytes};

/// After the last start, before anything is counted.
const SETTLE: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long, seconds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let (three, one) = (Recoil::serving(3)?, Recoil::serving(1)?);
    let mut servers = vec![
        ("Recoil, 3 nodes x 265 partitions, redis-server", vec![three.process()]),
        ("Recoil, 1 node, redis-server", vec![one.process()]),
    ];
    let redis = match missing(RedisServer::PROGRAMS) {
        None => Some(RedisServer::start()?),
        Some(why) => {
            eprintln!("Redis is left out: {why}");
            None
        }
    };
    servers.extend(redis.iter().map(|redis| ("Redis", vec![redis.process()])));
    let members = match missing(Etcd::PROGRAMS) {
        None => Some(Etcd::start()?),
        Some(why) => {
            eprintln!("etcd is left out: {why}");
            None
        }
    };
    if let Some(members) = &members {
        servers.push(("etcd, 3 members", members.processes()));
    }
    sleep(SETTLE);
    let used = |servers: &[(&str, Vec<u32>)]| -> anyhow::Result<Vec<Used>> {
        servers.iter().map(|(_, processes)| Used::of(processes)).collect()
    };
    let before = used(&servers)?;
    sleep(Duration::from_secs(options.seconds));
    let after = used(&servers)?;
    let heading = format!("% of a processor over {} s", options.seconds);
    let mut table = Table::new(&["idle", &heading, "RSS"]);
    for (place, (name, processes)) in servers.iter().enumerate() {
        let share = (after[place] - before[place]).own.as_secs_f64() / options.seconds as f64;
        let resident = megabytes(resident_bytes(processes)? as f64);
        table.row([(*name).to_owned(), short(share * 100.0), resident]);
    }
    print!("{table}");
    Ok(())
}
