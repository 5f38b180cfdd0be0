//! Loads: what is asked of a server, how fast it answered, and what it cost.

pub(crate) mod etcd;
pub(crate) mod redis;

use std::time::Instant;

use anyhow::{Context as _, ensure};

use crate::figures::median;
use crate::usage::{Busy, Used, resident_bytes};

/// Bytes of a value, unless something else is said.
pub(crate) const VALUE_BYTES: usize = 128;
/// Different keys, chosen at random.
pub(crate) const KEYS: u64 = 100_000;

/// What one run showed, or the medians of several.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    /// Answers in a second.
    pub(crate) rate: f64,
    /// Half of the answers took no longer, milliseconds.
    pub(crate) p50_ms: f64,
    /// 99 in 100 answers took no longer, milliseconds.
    pub(crate) p99_ms: f64,
    /// Processor time of the server's processes for a request, microseconds.
    pub(crate) server_us: f64,
    /// Processor time of the client for a request, microseconds.
    pub(crate) client_us: f64,
    /// Processors' time that neither of them had, of all there was, percent: what else the machine does, and what the kernel does
    /// in nobody's name.
    pub(crate) others_percent: f64,
    /// Memory of the server's processes after the run, bytes.
    pub(crate) resident_bytes: f64,
}

/// What a client saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Sample {
    /// Measures `run`, whose client is this program or a child of it, against the processes of a server.
    pub(crate) fn of(servers: &[u32], run: impl FnOnce() -> anyhow::Result<Seen>) -> anyhow::Result<Sample> {
        let before = (Used::of(servers)?, Used::of_self()?, Busy::now()?, Instant::now());
        let Seen { requests, rate, p50_ms, p99_ms } = run()?;
        let (server, client) = (Used::of(servers)? - before.0, Used::of_self()? - before.1);
        let others = Busy::now()?.since(before.2).saturating_sub(server.total()).saturating_sub(client.total());
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let all = before.3.elapsed().as_secs_f64() * processors as f64;
        let each = |used: Used| used.total().as_secs_f64() * 1e6 / requests as f64;
        Ok(Sample {
            rate,
            p50_ms,
            p99_ms,
            server_us: each(server),
            client_us: each(client),
            others_percent: others.as_secs_f64() / all * 100.0,
            resident_bytes: resident_bytes(servers)? as f64,
        })
    }

    /// The median of every figure. None of none.
    pub(crate) fn medians(samples: &[Sample]) -> Option<Sample> {
        let of = |figure: fn(&Sample) -> f64| median(&samples.iter().map(figure).collect::<Vec<f64>>());
        Some(Sample {
            rate: of(|sample| sample.rate)?,
            p50_ms: of(|sample| sample.p50_ms)?,
            p99_ms: of(|sample| sample.p99_ms)?,
            server_us: of(|sample| sample.server_us)?,
            client_us: of(|sample| sample.client_us)?,
            others_percent: of(|sample| sample.others_percent)?,
            resident_bytes: of(|sample| sample.resident_bytes)?,
        })
    }
}

/// The only result in the CSV of redis-benchmark, which was told how many requests to send, or of etcd-load, which tells.
fn parse_csv(csv: &str, requests: Option<u64>) -> anyhow::Result<Seen> {
    let mut lines = csv.lines().map(|line| line.split(',').map(|cell| cell.trim_matches('"')).collect::<Vec<_>>());
    let header = lines.find(|cells| cells.first() == Some(&"test")).context("no line of headings")?;
    let cells = lines.next().context("no results")?;
    ensure!(lines.next().is_none(), "more than one result");
    let number = |heading: &str| -> anyhow::Result<f64> {
        let place = header.iter().position(|cell| *cell == heading).with_context(|| format!("no {heading}"))?;
        let cell = cells.get(place).with_context(|| format!("no {heading}"))?;
        cell.parse().with_context(|| format!("{heading} is {cell:?}"))
    };
    let rate = number("rps")?;
    ensure!(rate.is_finite() && rate > 0.0, "rps is {rate}");
    let requests = requests.map_or_else(|| number("requests").map(|requests| requests as u64), Ok)?;
    Ok(Seen { requests, rate, p50_ms: number("p50_latency_ms")?, p99_ms: number("p99_latency_ms")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#""test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms""#;

    #[test]
    fn results_are_found_by_their_headings() {
        let csv = format!("{HEADER}\n\"SET\",\"68965.52\",\"10.4\",\"2.4\",\"9.391\",\"19.7\",\"26.655\",\"29.2\"\n");
        let seen = parse_csv(&csv, Some(20_000)).unwrap();
        assert_eq!(seen, Seen { requests: 20_000, rate: 68_965.52, p50_ms: 9.391, p99_ms: 26.655 });
        let warned = format!("WARNING: Could not fetch server CONFIG\n{csv}");
        assert_eq!(parse_csv(&warned, Some(20_000)).unwrap(), seen);
        let told =
            "\"test\",\"requests\",\"rps\",\"p50_latency_ms\",\"p99_latency_ms\"\n\"PUT\",\"7\",\"3.5\",\"1\",\"2\"\n";
        assert_eq!(parse_csv(told, None).unwrap(), Seen { requests: 7, rate: 3.5, p50_ms: 1.0, p99_ms: 2.0 });
    }

    #[test]
    fn a_run_without_a_result_is_an_error() {
        for (csv, why) in [
            (String::new(), "no line of headings"),
            (format!("{HEADER}\n"), "no results"),
            (format!("{HEADER}\n\"SET\",\"many\"\n"), "rps is \"many\""),
            (format!("{HEADER}\n\"SET\",\"0.00\"\n"), "rps is 0"),
            (format!("{HEADER}\n\"SET\",\"5\"\n"), "no p50_latency_ms"),
            (format!("{HEADER}\n\"SET\",\"5\"\n\"GET\",\"5\"\n"), "more than one result"),
        ] {
            let error = parse_csv(&csv, Some(1)).unwrap_err();
            assert_eq!(error.to_string(), why, "{csv}");
        }
    }

    #[test]
    fn every_figure_has_its_own_median() {
        let samples = [1.0, 5.0, 2.0].map(|rate| Sample { rate, p99_ms: 10.0 - rate, ..Sample::default() });
        let medians = Sample::medians(&samples).unwrap();
        assert_eq!((medians.rate, medians.p99_ms, medians.p50_ms), (2.0, 8.0, 0.0));
        assert_eq!(Sample::medians(&[]), None);
    }

    #[test]
    fn time_is_counted_for_each_request() {
        let spin = || {
            let end = Instant::now() + std::time::Duration::from_millis(200);
            while Instant::now() < end {}
            Ok(Seen { requests: 1000, rate: 5000.0, p50_ms: 0.1, p99_ms: 0.2 })
        };
        let sample = Sample::of(&[std::process::id()], spin).unwrap();
        assert!(sample.server_us > 50.0 && sample.server_us < 1000.0, "{sample:?}");
        assert!(sample.resident_bytes > 0.0);
    }
}
