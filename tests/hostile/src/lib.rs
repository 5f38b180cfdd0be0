//! The hostile package, and a client for it.
//!
//! The package (`guest/`) misbehaves on demand; the tests and the benchmark install it beside redis-server and look at what
//! redis-server's clients notice. Deliberately absent: judgement of what is good enough; that is the callers'.

// Tests and benchmarks run against the clock on the wall.
#![allow(clippy::disallowed_methods)]

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use recoil_package::{Instances, Limits};

struct Package {
    name: &'static str,
    #[allow(dead_code, reason = "the table of the build gives it")]
    version: &'static str,
    archive: &'static [u8],
}

static PACKAGES: &[Package] = include!(concat!(env!("OUT_DIR"), "/packages.rs"));

/// The package as it is built.
pub fn component() -> &'static [u8] {
    PACKAGES.iter().find(|package| package.name == "hostile").expect("the build script makes it").archive
}

/// Writes the package to `file`, to listen on `port` before the nodes' offset, with these limits.
pub fn write_package(file: &Path, name: &str, port: u16, limits: &[(&str, u64)]) {
    let mut manifest = recoil_package::read(component()).expect("it has a manifest");
    manifest.name = name.to_owned();
    manifest.listeners[0].port = port;
    manifest.limits = Limits(limits.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect());
    let archive = recoil_package::embed(component(), &manifest).expect("it takes a manifest");
    std::fs::write(file, archive).expect("the file can be written");
}

/// Changes a package that was written so that its instances answer for any partition.
pub fn share_instances(file: &Path) {
    let archive = std::fs::read(file).expect("it has been written");
    let mut manifest = recoil_package::read(&archive).expect("it has a manifest");
    manifest.instances = Instances::Shared;
    let archive = recoil_package::embed(component(), &manifest).expect("it takes a manifest");
    std::fs::write(file, archive).expect("the file can be written");
}

/// A connection to the hostile package.
pub struct Hostile(BufReader<TcpStream>);

impl Hostile {
    /// To a port on loopback. No answer is waited for longer than `patience`.
    pub fn connect(port: u16, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Hostile(BufReader::new(stream)))
    }

    /// Asks for a misbehaviour, without waiting for its end.
    pub fn send(&mut self, key: &str, word: &str, number: usize) -> io::Result<()> {
        self.0.get_mut().write_all(format!("{key} {word} {number}\n").as_bytes())
    }

    /// Asks for a misbehaviour and answers the line that comes of it; an error when the connection ends.
    pub fn ask(&mut self, key: &str, word: &str, number: usize) -> io::Result<String> {
        self.send(key, word, number)?;
        self.line()
    }

    /// The next line.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// Waits for the end of the connection.
    pub fn wait_end(&mut self) -> io::Result<usize> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(rest.len()),
            other => other,
        }
    }
}
