//! redis-benchmark, as a load for whatever speaks Redis' protocol.
//!
//! It ends with the first error that a server answers, so what it counts are answers. Its latencies are a request's own time, from the
//! sending of the pipeline that it was in.

use anyhow::{Context as _, bail};
use recoil_cluster_tests::run;

use crate::load::{KEYS, Seen, VALUE_BYTES, parse_csv};

/// What must be on the PATH.
pub(crate) const PROGRAMS: &[&str] = &["redis-benchmark"];

/// Connections.
const CLIENTS: u32 = 50;
/// Requests that a first guess takes of a server, for each request in a pipeline.
const GUESS: u64 = 2000;
/// A guess from a shorter run is not trusted, seconds.
const GUESS_SECONDS_MIN: f64 = 0.4;

/// One way to use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// `set` or `get`.
    pub(crate) test: &'static str,
    /// Requests sent at once on a connection.
    pub(crate) pipeline: u32,
}

impl Load {
    /// All that are compared.
    pub(crate) const ALL: [Load; 4] = [
        Load { test: "set", pipeline: 1 },
        Load { test: "set", pipeline: 16 },
        Load { test: "get", pipeline: 1 },
        Load { test: "get", pipeline: 16 },
    ];

    /// The number of requests that takes about `seconds`, found by shorter runs, which also warm the server.
    pub(crate) fn requests_for(self, port: u16, seconds: f64) -> anyhow::Result<u64> {
        let mut requests = GUESS * u64::from(self.pipeline);
        loop {
            let seen = self.run(port, requests)?;
            if requests as f64 / seen.rate > GUESS_SECONDS_MIN {
                return Ok((seen.rate * seconds) as u64);
            }
            requests = (seen.rate * GUESS_SECONDS_MIN * 1.5) as u64;
        }
    }

    /// Sends so many requests to a port on loopback.
    pub(crate) fn run(self, port: u16, requests: u64) -> anyhow::Result<Seen> {
        let more = [self.test, &self.pipeline.to_string()].map(str::to_owned);
        let [test, pipeline] = more;
        benchmark(port, requests, &["-t", &test, "-P", &pipeline, "-c", &CLIENTS.to_string()], VALUE_BYTES, KEYS)
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -P {}", self.test.to_uppercase(), self.pipeline)
    }
}

/// Runs redis-benchmark. At most the patience of `recoil_cluster_tests::run` long.
pub(crate) fn benchmark(
    port: u16,
    requests: u64,
    more: &[&str],
    value_bytes: usize,
    keys: u64,
) -> anyhow::Result<Seen> {
    let numbers = [u64::from(port), requests, value_bytes as u64, keys].map(|number| number.to_string());
    let [port, count, size, keys] = &numbers;
    let arguments = ["-h", "127.0.0.1", "-p", port, "-n", count, "-d", size, "-r", keys, "--csv"];
    let ran = run("redis-benchmark", &[&arguments, more].concat());
    if ran.code != Some(0) {
        bail!("redis-benchmark {more:?} on port {port}: {}{}", ran.stdout, ran.stderr);
    }
    parse_csv(&ran.stdout, Some(requests))
        .with_context(|| format!("redis-benchmark {more:?} on port {port}: {}{}", ran.stdout, ran.stderr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_says_what_it_is() {
        let names = Load::ALL.map(|load| load.to_string());
        assert_eq!(names, ["SET -P 1", "SET -P 16", "GET -P 1", "GET -P 16"]);
    }
}
