//! An installed conformance package, and what an operator can see of it.

use std::path::Path;

use recoil_cluster_tests::{Cluster, Ports, Ran};
use serde_json::Value;

use crate::client::{Client as _, Handler, Http, Tcp};
use crate::until;

/// An app in a cluster. It is uninstalled when it is dropped.
pub struct App<'a> {
    cluster: &'a Cluster,
    name: String,
    tcp: u16,
    http: u16,
}

/// A line of its log.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// `info`, say.
    pub level: String,
    /// The partition whose handler wrote it; none for a listener.
    pub partition: Option<u64>,
    /// The text.
    pub message: String,
}

impl<'a> App<'a> {
    /// Installs a package file on all nodes, on ports that nobody has.
    pub fn install(cluster: &'a Cluster, name: &str, file: &Path) -> Result<Self, String> {
        // Two rows of a block of ports; the cluster adds its offset.
        let ports = Ports::free(Cluster::NODES as u16);
        let (tcp, http) = (ports.redis(0), ports.admin);
        let listen = |name: &str, port: u16| format!("{name}={}", port.wrapping_sub(cluster.ports().offset));
        let file = file.display().to_string();
        ctl(
            cluster,
            0,
            &["install", "--yes", &file, "--listen", &listen("tcp", tcp), "--listen", &listen("http", http)],
        )?;
        Ok(App { cluster, name: name.to_owned(), tcp, http })
    }

    /// The cluster it is in.
    pub fn cluster(&self) -> &Cluster {
        self.cluster
    }

    /// A new connection to node k.
    pub fn tcp(&self, k: usize) -> Result<Tcp, String> {
        Tcp::connect(self.tcp + k as u16)
    }

    /// A new connection to node k, whose requests a handler answers.
    pub fn handler(&self, k: usize) -> Result<Handler, String> {
        Handler::connect(self.tcp + k as u16)
    }

    /// A new connection to node k's HTTP port.
    pub fn http(&self, k: usize) -> Result<Http, String> {
        Http::connect(self.http + k as u16)
    }

    /// A new connection to node k's admin API.
    pub fn admin(&self, k: usize) -> Result<Http, String> {
        let address = self.cluster.admin(k);
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
        Http::connect(port.ok_or_else(|| format!("{address} has no port"))?)
    }

    /// Its name in the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Removes all keys.
    pub fn clear(&self) -> Result<(), String> {
        self.tcp(0)?.ask(&[b"remove-range", b"", b""])?.items().map(|_| ())
    }

    /// recoilctl, asking node k. What it says if it fails is the error.
    pub fn ctl(&self, k: usize, arguments: &[&str]) -> Result<String, String> {
        ctl(self.cluster, k, arguments)
    }

    /// Changes settings while it runs, through node k.
    pub fn set(&self, k: usize, values: &[&str]) -> Result<(), String> {
        self.ctl(k, &[&["set", self.name.as_str()], values].concat()).map(|_| ())
    }

    /// Its log on all nodes.
    pub fn log(&self) -> Result<Vec<LogLine>, String> {
        let printed = self.ctl(0, &["-o", "json", "logs", &self.name])?;
        let line = |text: &str| -> Result<LogLine, String> {
            let line: Value = serde_json::from_str(text).map_err(|error| format!("{text}: {error}"))?;
            let of = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
            Ok(LogLine { level: of("level"), partition: line["partition"].as_u64(), message: of("message") })
        };
        printed.lines().map(line).collect()
    }

    /// The first line of its log, present or soon to come, for which `wanted` holds.
    pub fn logged(&self, what: &str, wanted: impl Fn(&LogLine) -> bool) -> Result<LogLine, String> {
        until(&format!("{what} in the log"), || {
            let lines = self.log()?;
            let last = lines.last().map(|line| line.message.clone()).unwrap_or_default();
            let count = lines.len();
            lines.into_iter().find(&wanted).ok_or_else(|| format!("not among {count} lines, the last of them: {last}"))
        })
    }
}

fn ctl(cluster: &Cluster, k: usize, arguments: &[&str]) -> Result<String, String> {
    let Ran { code, stdout, stderr } = cluster.ctl(k, arguments);
    if code == Some(0) { Ok(stdout) } else { Err(format!("recoilctl {}: {stderr}", arguments.join(" "))) }
}

impl Drop for App<'_> {
    fn drop(&mut self) {
        if let Err(why) = self.ctl(0, &["uninstall", &self.name, "--yes"]) {
            eprintln!("{why}");
        }
    }
}
