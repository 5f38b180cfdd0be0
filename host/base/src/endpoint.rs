//! An address as an operator writes it: `HOST:PORT`, where the host is a name or an IP address.
//!
//! A name is kept as it was written and resolved again for each attempt, because what it stands for
//! may change while a program runs (DHCP, pods). IPv6 addresses are written in brackets where a
//! port follows; without a port the brackets may be left out.
//!
//! Bounded: the length of a name, the time of a resolution, the addresses that are taken from one.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// The port of a node, where none is written.
pub const PORT_DEFAULT: u16 = 7400;
/// How long a name server may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;
/// RFC 1035, section 2.3.4.
const NAME_BYTES_MAX: usize = 255;

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// Why a text is not an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' {why}; write HOST:PORT, such as 10.0.0.1:{PORT_DEFAULT}, node-0.example:{PORT_DEFAULT} or \
     [::1]:{PORT_DEFAULT}"
)]
pub struct EndpointError {
    text: String,
    why: &'static str,
}

impl Endpoint {
    /// Reads `HOST`, `HOST:PORT` or `[IPV6]:PORT`; `port` is taken where none is written.
    ///
    /// # Errors
    /// What is wrong with the text, and the forms that are understood.
    pub fn parse(text: &str, port: u16) -> Result<Self, EndpointError> {
        let wrong = |why| EndpointError { text: text.chars().take(NAME_BYTES_MAX).collect(), why };
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(wrong("is empty"));
        }
        if let Some(rest) = trimmed.strip_prefix('[') {
            let (host, after) = rest.split_once(']').ok_or_else(|| wrong("has a '[' without its ']'"))?;
            host.parse::<Ipv6Addr>().map_err(|_| wrong("has something else than an IPv6 address in its brackets"))?;
            let port = match after.strip_prefix(':') {
                Some(digits) => read_port(digits).ok_or_else(|| wrong("has no port from 0 to 65535 after ']:'"))?,
                None if after.is_empty() => port,
                None => return Err(wrong("has something else than a port after its ']'")),
            };
            return Ok(Endpoint { host: host.to_owned(), port });
        }
        if trimmed.parse::<Ipv6Addr>().is_ok() {
            return Ok(Endpoint { host: trimmed.to_owned(), port });
        }
        let (host, port) = match trimmed.rsplit_once(':') {
            Some((host, digits)) => {
                (host, read_port(digits).ok_or_else(|| wrong("has no port from 0 to 65535 after its ':'"))?)
            }
            None => (trimmed, port),
        };
        if host.is_empty() {
            return Err(wrong("has no host before its port"));
        }
        if host.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong("has a number where its host should be"));
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if host.len() > NAME_BYTES_MAX || !host.bytes().all(is_name) {
            return Err(wrong("has a host that is neither a name nor an IP address"));
        }
        Ok(Endpoint { host: host.to_owned(), port })
    }

    /// The name or the address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// True if the host is an address, so that nobody has to be asked what it stands for.
    pub fn is_address(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok()
    }

    /// What the endpoint stands for now, at least one address: IPv4 addresses first, otherwise in
    /// the order of the name server.
    ///
    /// # Errors
    /// If the name has no address, or nobody says in time which.
    pub async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let looking = tokio::net::lookup_host((self.host.as_str(), self.port));
        let found = tokio::time::timeout(RESOLVE_TIMEOUT, looking).await.map_err(|_| {
            let text =
                format!("no name server said within {} s what {} stands for", RESOLVE_TIMEOUT.as_secs(), self.host);
            io::Error::new(io::ErrorKind::TimedOut, text)
        })??;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in found {
            if addresses.len() < ADDRESSES_MAX && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses.sort_by_key(|address| !address.is_ipv4());
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("the name {} has no address", self.host)));
        }
        Ok(addresses)
    }
}

fn read_port(digits: &str) -> Option<u16> {
    // `parse` would take a sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        Endpoint::parse(text, PORT_DEFAULT)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Endpoint { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a form that operators write is refused, or a port is added where one is written.
    #[test]
    fn hosts_are_read_with_and_without_a_port() {
        for (text, expected) in [
            ("localhost", "localhost:7400"),
            ("localhost:7401", "localhost:7401"),
            ("node-0.nodes.svc:80", "node-0.nodes.svc:80"),
            ("10.0.0.1", "10.0.0.1:7400"),
            ("10.0.0.1:0", "10.0.0.1:0"),
            ("::1", "[::1]:7400"),
            ("[::1]", "[::1]:7400"),
            ("[::1]:7401", "[::1]:7401"),
            ("2001:db8::7:7400", "[2001:db8::7:7400]:7400"),
            (" a_b \n", "a_b:7400"),
        ] {
            let read: Endpoint = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(read.to_string(), expected);
            assert_eq!(expected.parse(), Ok(read), "what is shown can be read again");
        }
        assert_eq!(Endpoint::parse("node-0", 0).map(|read| read.port()), Ok(0));
    }

    /// Fails if something that names no host is taken for one, or the error does not show what was
    /// wrong and what to write.
    #[test]
    fn what_names_no_host_is_refused_with_the_forms_that_are_understood() {
        for (text, why) in [
            ("", "is empty"),
            ("  ", "is empty"),
            (":7400", "no host"),
            ("7400", "a number where its host"),
            ("a:", "no port"),
            ("a:+1", "no port"),
            ("a:70000", "no port"),
            ("a:b", "no port"),
            ("[::1", "without its ']'"),
            ("[a]:1", "IPv6"),
            ("[::1]7400", "after its ']'"),
            ("http://a:1", "neither a name nor"),
            ("a/b", "neither a name nor"),
            ("a b:1", "neither a name nor"),
            ("10.0.0.1:7400,10.0.0.2:7400", "neither a name nor"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("write HOST:PORT"), "{text}: {error}");
        }
        assert!("a".repeat(300).parse::<Endpoint>().is_err());
    }

    /// Fails if an address needs a name server, or a name that means this machine is not resolved.
    #[tokio::test]
    async fn addresses_stand_for_themselves_and_names_for_what_the_system_says() {
        let of = |text: &str| text.parse::<Endpoint>().unwrap();
        let address: SocketAddr = "[::1]:7401".parse().unwrap();
        assert_eq!(of("[::1]:7401").resolve().await.unwrap(), [address]);
        assert_eq!(Endpoint::from(address).resolve().await.unwrap(), [address]);
        let local = of("localhost:7402").resolve().await.unwrap();
        assert!(local.iter().all(|address| address.ip().is_loopback() && address.port() == 7402), "{local:?}");
        assert!(of("no-such-host.invalid").resolve().await.is_err());
    }
}
