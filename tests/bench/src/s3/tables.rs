//! Samples of loads, and the tables that they come to.

use std::fmt::{Display, Formatter};

use super::servers::System;
use crate::figures::{Table, median, megabytes, short, spread, thousands};

/// What one run of a load showed, or the medians of several. Figures are of a request unless they say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// Bytes of an object; 0 of lists.
    pub(super) bytes: f64,
    /// Requests in a second.
    pub(super) rate: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Processor time of all nodes, with what they do afterwards.
    pub(super) server_us: f64,
    pub(super) client_us: f64,
    /// Bytes that all nodes wrote to their disk, with what they write afterwards.
    pub(super) written_bytes: f64,
    /// Memory of the node that took most, before the load.
    pub(super) idle_bytes: f64,
    /// The most that a node took beyond that.
    pub(super) rise_bytes: f64,
    /// Requests that were sent again, of all.
    pub(super) retries: f64,
    /// Processors' time that neither nodes nor client had, of all there was.
    pub(super) others_percent: f64,
}

impl Sample {
    fn mebibytes(&self) -> f64 {
        self.bytes / (1 << 20) as f64
    }

    fn medians(samples: &[Sample]) -> Option<Sample> {
        let of = |figure: fn(&Sample) -> f64| median(&samples.iter().map(figure).collect::<Vec<f64>>());
        Some(Sample {
            bytes: of(|sample| sample.bytes)?,
            rate: of(|sample| sample.rate)?,
            p50_ms: of(|sample| sample.p50_ms)?,
            p99_ms: of(|sample| sample.p99_ms)?,
            server_us: of(|sample| sample.server_us)?,
            client_us: of(|sample| sample.client_us)?,
            written_bytes: of(|sample| sample.written_bytes)?,
            idle_bytes: of(|sample| sample.idle_bytes)?,
            rise_bytes: of(|sample| sample.rise_bytes)?,
            retries: of(|sample| sample.retries)?,
            others_percent: of(|sample| sample.others_percent)?,
        })
    }
}

/// Samples of every store under every load, in the order of the first round.
#[derive(Default)]
pub(super) struct Results(Vec<(System, String, Vec<Sample>)>);

impl Results {
    pub(super) fn add(&mut self, system: System, load: String, sample: Sample) {
        match self.0.iter_mut().find(|(known, name, _)| *known == system && *name == load) {
            Some((.., samples)) => samples.push(sample),
            None => self.0.push((system, load, vec![sample])),
        }
    }

    fn medians(&self, system: System, load: &str) -> Option<Sample> {
        let (.., samples) = self.0.iter().find(|(known, name, _)| *known == system && name == load)?;
        Sample::medians(samples)
    }

    /// Loads, each once.
    fn loads(&self) -> Vec<&str> {
        let mut loads: Vec<&str> = Vec::new();
        for (_, load, _) in &self.0 {
            if !loads.contains(&load.as_str()) {
                loads.push(load);
            }
        }
        loads
    }

    fn figures(&self) -> Table {
        let header = [
            "load",
            "store",
            "requests/s",
            "lowest-highest",
            "MiB/s",
            "p50 ms",
            "p99 ms",
            "server ms/MiB",
            "server µs",
            "client µs",
            "written MiB/MiB",
            "repeated",
            "others",
        ];
        let mut table = Table::new(&header);
        for load in self.loads() {
            for (system, _, samples) in self.0.iter().filter(|(_, name, _)| name == load) {
                let Some(sample) = Sample::medians(samples) else { continue };
                let rates: Vec<f64> = samples.iter().map(|sample| sample.rate).collect();
                let (lowest, highest) = spread(&rates).unwrap_or_default();
                let mebibytes = sample.mebibytes();
                let per_mebibyte =
                    |figure: f64| if mebibytes > 0.0 { short(figure / mebibytes) } else { String::new() };
                table.row([
                    load.to_owned(),
                    system.name().to_owned(),
                    short(sample.rate),
                    format!("{}-{}", short(lowest), short(highest)),
                    if mebibytes > 0.0 { short(sample.rate * mebibytes) } else { String::new() },
                    short(sample.p50_ms),
                    short(sample.p99_ms),
                    per_mebibyte(sample.server_us / 1000.0),
                    thousands(sample.server_us),
                    thousands(sample.client_us),
                    per_mebibyte(sample.written_bytes / (1 << 20) as f64),
                    thousands(sample.retries),
                    format!("{:.0} %", sample.others_percent),
                ]);
            }
        }
        table
    }

    /// Recoil's figures as parts of a peer's: rates above 1 and costs below 1 are better than the peer's.
    fn ratios(&self) -> Table {
        let header = ["load", "store", "rate", "p99", "processor time", "written", "memory above idle"];
        let mut table = Table::new(&header);
        for load in self.loads() {
            let Some(own) = self.medians(System::Recoil, load) else { continue };
            for peer in [System::Garage, System::GarageFsync] {
                let Some(other) = self.medians(peer, load) else { continue };
                let ratio = |figure: fn(&Sample) -> f64| {
                    let (own, other) = (figure(&own), figure(&other));
                    // A part of next to nothing says nothing.
                    if other > 0.0 { format!("{:.2}", own / other) } else { String::new() }
                };
                table.row([
                    load.to_owned(),
                    format!("Recoil / {}", peer.name()),
                    ratio(|sample| sample.rate),
                    ratio(|sample| sample.p99_ms),
                    ratio(|sample| sample.server_us),
                    if load.starts_with("PUT") { ratio(|sample| sample.written_bytes) } else { String::new() },
                    if load.ends_with("64 MiB") { ratio(|sample| sample.rise_bytes) } else { String::new() },
                ]);
            }
        }
        table
    }

    fn memory(&self) -> Table {
        let mut table = Table::new(&["memory of a node, 16 connections", "store", "idle", "most above that"]);
        for load in self.loads().into_iter().filter(|load| load.ends_with("64 MiB")) {
            for (system, _, samples) in self.0.iter().filter(|(_, name, _)| name == load) {
                let Some(sample) = Sample::medians(samples) else { continue };
                let [idle, rise] = [sample.idle_bytes, sample.rise_bytes].map(megabytes);
                table.row([load.to_owned(), system.name().to_owned(), idle, rise]);
            }
        }
        table
    }
}

impl Display for Results {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{}\n{}", self.figures(), self.ratios(), self.memory())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a ratio is not that of medians, or a peer that was not measured is shown.
    #[test]
    fn ratios_are_those_of_medians() {
        let mut results = Results::default();
        for rate in [10.0, 20.0, 900.0] {
            let sample =
                Sample { bytes: 64.0 * 1048576.0, rate, server_us: 640_000.0, rise_bytes: 5e6, ..Sample::default() };
            results.add(System::Recoil, "PUT 64 MiB".to_owned(), sample);
        }
        let other = Sample { rate: 40.0, server_us: 320_000.0, written_bytes: 1.0, ..Sample::default() };
        results.add(System::Garage, "PUT 64 MiB".to_owned(), other);
        let text = results.ratios().to_string();
        let cells: Vec<&str> = text.lines().last().unwrap().split('|').map(str::trim).collect();
        assert_eq!(cells, ["", "PUT 64 MiB", "Recoil / Garage", "0.50", "", "2.00", "0.00", "", ""]);
        let text = results.figures().to_string();
        let line = text.lines().find(|line| line.contains("| Recoil") || line.contains(" Recoil ")).unwrap();
        assert!(line.contains(" 20.0 ") && line.contains("10.0-900") && line.contains("1,280"), "{line}");
        assert!(line.contains(" 10.0 "), "640 ms of 64 MiB: {line}");
        assert!(results.memory().to_string().contains("5 MB"));
    }
}
