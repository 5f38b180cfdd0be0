//! A load of puts for etcd, over gRPC: what redis-benchmark is for Redis.
//!
//! etcd's own load generator is not in Debian, its JSON gateway would put a translation between client and server that no user of its
//! speed has, and `etcdctl check perf` has a rate of its own. A gRPC library would add dozens of crates to what
//! `cargo test --workspace` builds, for one message of two fields. So this speaks HTTP/2 through `h2`.
//!
//! Chosen in etcd's favour: requests go to the leader, which need not pass them on; clients share connections, eight to each, as HTTP/2
//! makes them share; and all clients run on one thread, as those of redis-benchmark do, so that the members have the
//! other processors to themselves.
//!
//! It is a program of its own, and no part of `recoil-bench`, because `h2` changes the features of crates that the servers under test are built
//! with: they would be built twice.

// A client is timed against the clock on the wall.
#![allow(clippy::disallowed_methods)]

mod messages;
mod puts;

use std::time::Duration;

/// Puts to the leader of an etcd cluster, each client waiting for its answer before it sends the next. Prints CSV, with the
/// headings of redis-benchmark.
#[derive(clap::Parser)]
struct Arguments {
    /// Addresses of the members, separated by commas.
    #[arg(long, value_delimiter = ',', required = true)]
    members: Vec<String>,
    /// Clients.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// How long, seconds.
    #[arg(long, default_value_t = 6)]
    seconds: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 128)]
    value_bytes: usize,
    /// Different keys, chosen at random.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Arguments { members, clients, seconds, value_bytes, keys } = <Arguments as clap::Parser>::parse();
    let leader = puts::leader(&members).await?;
    let length = Duration::from_secs(seconds);
    let mut seen = puts::run(&leader, clients, length, puts::Kind { value_bytes, keys }).await?;
    let (requests, rate) = (seen.latencies_us.len(), seen.rate());
    let [p50, p99] = [50, 99].map(|percent| f64::from(seen.percentile_us(percent)) / 1000.0);
    println!("\"test\",\"requests\",\"rps\",\"p50_latency_ms\",\"p99_latency_ms\"");
    println!("\"PUT\",\"{requests}\",\"{rate:.2}\",\"{p50:.3}\",\"{p99:.3}\"");
    Ok(())
}
