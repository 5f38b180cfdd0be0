//! How long a partition is without an answer when the node is killed that leads most.
//!
//! Three processes. Probes write keys of every group through the other two nodes all the time; an outage is the longest time between two
//! answers to one of them, and a round's figure the longest of all keys.

use std::thread::sleep;
use std::time::Duration;

use recoil_cluster_tests::{Cluster, Probes, eventually};

use crate::figures::{Table, median, ms, short, spread};

/// Enough for every group to own some.
const KEYS: usize = 12;
/// Before the kill, and after it, before anybody asks whether it is over.
const BEFORE: Duration = Duration::from_millis(500);
const AFTER: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many kills.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut cluster = Cluster::processes();
    let mut outages = Vec::new();
    for round in 1..=options.rounds {
        (0..Cluster::NODES).for_each(|k| cluster.wait_serving(k));
        cluster.wait_ready();
        let victim = cluster.busiest(0);
        let led = eventually("who leads", || cluster.led(victim))[victim];
        let doors: Vec<_> = (0..Cluster::NODES).filter(|k| *k != victim).map(|k| cluster.door(k)).collect();
        let probes = Probes::start(&doors, KEYS);
        sleep(BEFORE);
        cluster.kill(victim);
        sleep(AFTER);
        doors.iter().for_each(|door| door.wait_writable());
        let outage = probes.stop();
        cluster.start_node(victim);
        eprintln!("kill {round}: node {victim}, which led {led} partitions: {:.0} ms", ms(outage));
        outages.push(ms(outage));
    }
    let (lowest, highest) = spread(&outages).unwrap_or_default();
    let mut table = Table::new(&["kill -9 of the node that leads most", "ms", "lowest-highest"]);
    let range = format!("{}-{}", short(lowest), short(highest));
    let median = short(median(&outages).unwrap_or_default());
    table.row(["longest outage of a partition".to_owned(), median, range]);
    print!("{table}");
    Ok(())
}
