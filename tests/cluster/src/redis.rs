//! A Redis client of a few lines, for load: it tells exactly which writes were acknowledged. What users use, redis-cli and
//! redis-py, is used where that matters.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::{Namespace, eventually};

/// No command takes longer, even while a leader is being replaced.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+OK` and the like.
    Simple(String),
    /// An error's text.
    Error(String),
    /// A number.
    Integer(i64),
    /// A value, or nil.
    Bulk(Option<Vec<u8>>),
    /// Several.
    Array(Vec<Reply>),
}

impl Reply {
    /// The value as text; none for anything else.
    pub fn text(&self) -> Option<String> {
        match self {
            Reply::Bulk(Some(value)) => Some(String::from_utf8_lossy(value).into_owned()),
            Reply::Simple(text) => Some(text.clone()),
            _ => None,
        }
    }
}

/// Where a node's Redis port is, for clients in threads.
#[derive(Clone, Debug)]
pub struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) namespace: Option<Namespace>,
}

impl Door {
    /// A new connection.
    pub fn connect(&self) -> io::Result<Redis> {
        match &self.namespace {
            Some(namespace) => namespace.within(|| Redis::connect_to(self.address)),
            None => Redis::connect_to(self.address),
        }
    }

    /// Waits until writes of keys of every group are answered.
    pub fn wait_writable(&self) {
        eventually("writes go on", || {
            let mut redis = self.connect().map_err(|error| error.to_string())?;
            for number in 0..30 {
                match redis.command(&["SET", &format!("writable:{number}"), "1"]) {
                    Ok(Reply::Simple(_)) => {}
                    other => return Err(format!("{self}: {other:?}")),
                }
            }
            Ok(())
        });
    }
}

impl std::fmt::Display for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

/// A connection. After an error it is of no further use.
pub struct Redis {
    stream: BufReader<TcpStream>,
}

impl Redis {
    /// To a port on loopback.
    pub fn connect(port: u16) -> io::Result<Self> {
        Redis::connect_to(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// To any address.
    pub fn connect_to(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Redis { stream: BufReader::new(stream) })
    }

    /// Send one command and wait for its answer.
    pub fn command(&mut self, words: &[&str]) -> io::Result<Reply> {
        self.pipeline(&[words]).map(|mut replies| replies.remove(0))
    }

    /// Send commands at once and wait for their answers.
    pub fn pipeline(&mut self, commands: &[&[&str]]) -> io::Result<Vec<Reply>> {
        self.send(commands)?;
        commands.iter().map(|_| self.reply()).collect()
    }

    /// Send commands and do not wait; [`Redis::reply`] takes the answers, one by one.
    pub fn send(&mut self, commands: &[&[&str]]) -> io::Result<()> {
        let mut request = Vec::new();
        for words in commands {
            write!(request, "*{}\r\n", words.len())?;
            for word in *words {
                write!(request, "${}\r\n{word}\r\n", word.len())?;
            }
        }
        self.stream.get_mut().write_all(&request)
    }

    /// The next answer.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, line.clone());
        let text = line.strip_suffix("\r\n").ok_or_else(wrong)?;
        let (kind, rest) = text.split_at_checked(1).ok_or_else(wrong)?;
        let number = || rest.parse::<i64>().map_err(|_| wrong());
        match kind {
            "+" => Ok(Reply::Simple(rest.to_owned())),
            "-" => Ok(Reply::Error(rest.to_owned())),
            ":" => Ok(Reply::Integer(number()?)),
            "$" => match usize::try_from(number()?) {
                Ok(length) => {
                    let mut value = vec![0; length + 2];
                    self.stream.read_exact(&mut value)?;
                    value.truncate(length);
                    Ok(Reply::Bulk(Some(value)))
                }
                Err(_) => Ok(Reply::Bulk(None)),
            },
            "*" => (0..number()?).map(|_| self.reply()).collect::<io::Result<_>>().map(Reply::Array),
            _ => Err(wrong()),
        }
    }
}
