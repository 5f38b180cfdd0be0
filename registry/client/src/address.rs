//! What names a registry: `host[:port]`, as people write it before a repository's name.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::RegistryError;

/// Docker's own registry goes by several names, and its credentials by another.
const DOCKER_HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
const DOCKER_HUB_CREDENTIALS: &str = "https://index.docker.io/v1/";

/// A registry's address, checked, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    text: String,
    is_loopback: bool,
}

impl Address {
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// True of the machine itself, which is spoken to over plain HTTP: nobody is on the way.
    pub(crate) fn is_loopback(&self) -> bool {
        self.is_loopback
    }

    /// The host to connect to: Docker Hub's API is not at its name.
    pub(crate) fn host(&self) -> &str {
        if self.text == "docker.io" { "index.docker.io" } else { &self.text }
    }

    /// True if both name the same registry, so that credentials for one are valid for the other.
    pub(crate) fn is_same(&self, other: &Address) -> bool {
        self.credentials_name() == other.credentials_name()
    }

    /// What Docker's configuration and its helpers call the registry.
    pub(crate) fn credentials_name(&self) -> &str {
        if DOCKER_HUB.contains(&self.as_str()) { DOCKER_HUB_CREDENTIALS } else { &self.text }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Address {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        let wrong = |why| RegistryError::BadAddress { address: text.escape_debug().take(100).collect(), why };
        if text.contains("://") {
            return Err(wrong("it begins with a scheme"));
        }
        if text.contains('/') {
            return Err(wrong("it has a path"));
        }
        let (host, port) = split(text).ok_or_else(|| wrong("its brackets do not close"))?;
        if port.is_some_and(|port| !is_port(port)) {
            return Err(wrong("its port is not a number from 1 to 65535"));
        }
        let is_loopback = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inside) => inside
                .parse::<Ipv6Addr>()
                .map_err(|_| wrong("what is in its brackets is not an IPv6 address"))?
                .is_loopback(),
            None if is_host(host) => is_own_name(host),
            None => return Err(wrong("its host is neither a name nor an IP address")),
        };
        Ok(Address { text: text.to_ascii_lowercase(), is_loopback })
    }
}

/// Host and port. The colons inside brackets are the host's.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    match text.split_at(end) {
        (host, "") => Some((host, None)),
        (host, rest) => Some((host, Some(rest.strip_prefix(':')?))),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port != 0)
}

fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_own_name(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_perhaps_a_port() {
        for good in
            ["registry.example", "registry.example:5000", "10.0.0.1:80", "[2001:db8::1]", "[2001:db8::1]:5000", "a"]
        {
            let address: Address = good.parse().unwrap();
            assert_eq!((address.as_str(), address.is_loopback()), (good, false));
        }
        assert_eq!("Registry.Example:5000".parse::<Address>().unwrap().as_str(), "registry.example:5000");
    }

    #[test]
    fn only_the_machine_itself_is_loopback() {
        for own in ["localhost", "LOCALHOST:5000", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:5000"] {
            assert!(own.parse::<Address>().unwrap().is_loopback(), "{own}");
        }
        for other in ["localhost.example", "127.0.0.1.example", "128.0.0.1", "[::2]", "127"] {
            assert!(!other.parse::<Address>().unwrap().is_loopback(), "{other}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_why() {
        let cases = [
            ("https://registry.example", "scheme"),
            ("registry.example/acme", "path"),
            ("registry.example:0", "port"),
            ("registry.example:+1", "port"),
            ("registry.example:", "port"),
            ("registry.example:65536", "port"),
            ("::1", "port"),
            ("[::1", "brackets"),
            ("[::1]5000", "brackets"),
            ("[registry]", "IPv6"),
            ("", "host"),
            ("user@registry.example", "host"),
            ("a b", "host"),
            ("-a.example", "host"),
            ("a..b", "host"),
            ("é.example", "host"),
        ];
        for (text, why) in cases {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn the_names_of_docker_hub_have_the_same_credentials() {
        for name in DOCKER_HUB {
            assert_eq!(name.parse::<Address>().unwrap().credentials_name(), DOCKER_HUB_CREDENTIALS);
        }
        assert_eq!("ghcr.io".parse::<Address>().unwrap().credentials_name(), "ghcr.io");
    }
}
