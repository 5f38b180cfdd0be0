//! Clients of a conformance package: over TCP, over HTTP, and in a handler's request over TCP.
//!
//! Every wait has a bound: an instance that hangs fails its case and nothing else.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::wire::{Answer, frame, list};

/// No answer takes longer: the largest is 16 MiB, from a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A way to ask.
pub trait Client {
    /// Asks with the bytes of a list; the error is one of the way, not the package's answer.
    fn ask_list(&mut self, request: &[u8]) -> Result<Answer, String>;

    /// Asks for a command: its name and its arguments.
    fn ask(&mut self, words: &[&[u8]]) -> Result<Answer, String> {
        self.ask_list(&list(words))
    }
}

fn connect(port: u16) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

/// A connection to the TCP port. After an error it is of no further use.
pub struct Tcp(BufReader<TcpStream>);

impl Tcp {
    /// To a port on loopback.
    pub fn connect(port: u16) -> Result<Self, String> {
        connect(port).map(Tcp).map_err(|error| format!("no connection to the TCP port {port}: {error}"))
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0.get_mut().write_all(bytes).map_err(|error| format!("nothing can be sent any more: {error}"))
    }

    /// Waits for the next answer.
    pub fn receive(&mut self) -> Result<Answer, String> {
        let mut read =
            |buffer: &mut [u8]| self.0.read_exact(buffer).map_err(|error| format!("no answer came over TCP: {error}"));
        let mut length = [0; 4];
        read(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        read(&mut body)?;
        Answer::of(&body)
    }

    /// Waits for the other end to close.
    pub fn is_ended(&mut self) -> Result<(), String> {
        match self.0.read(&mut [0]) {
            Ok(0) => Ok(()),
            // What was sent and never read makes the end of it a reset.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Ok(_) => Err("the connection goes on".into()),
            Err(error) => Err(format!("the connection does not end: {error}")),
        }
    }
}

impl Client for Tcp {
    fn ask_list(&mut self, request: &[u8]) -> Result<Answer, String> {
        self.send(&frame(request))?;
        self.receive()
    }
}

/// Has everything done by the handler of one partition.
pub struct Handler(Tcp);

impl Handler {
    /// Through the listener at `port`.
    pub fn connect(port: u16) -> Result<Self, String> {
        Tcp::connect(port).map(Handler)
    }
}

impl Client for Handler {
    fn ask_list(&mut self, request: &[u8]) -> Result<Answer, String> {
        let answer = self.0.ask(&[b"call", b"write", b"a partition", request])?;
        Ok(match answer {
            // A handler's error is `kind: text`.
            Answer::Error { kind, text } if kind == "rejected" => {
                let (kind, text) = text.split_once(':').unwrap_or(("", &text));
                Answer::Error { kind: kind.into(), text: text.trim_start().into() }
            }
            other => other,
        })
    }
}

/// A connection to the HTTP port, kept between requests: HTTP/1.1 as far as a server on the same machine needs it.
pub struct Http(BufReader<TcpStream>);

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// Three digits.
    pub status: u16,
    /// Lower-case names and values, as they came.
    pub headers: Vec<(String, String)>,
    /// Read to its end.
    pub body: Vec<u8>,
}

impl Response {
    /// The values of all headers of that name.
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
    }
}

impl Http {
    /// To a port on loopback.
    pub fn connect(port: u16) -> Result<Self, String> {
        connect(port).map(Http).map_err(|error| format!("no connection to the HTTP port {port}: {error}"))
    }

    /// Sends a request and waits for its answer.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, String> {
        self.exchange(method, target, headers, body).map_err(|error| format!("{method} {target}: {error}"))
    }

    fn exchange(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.0.get_mut().write_all(&[head.as_bytes(), b"\r\n", body].concat())?;
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| wrong(&status))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut response = Response { status, headers, body: Vec::new() };
        if method != "HEAD" && ![204, 304].contains(&status) {
            let length = response.header("content-length").first().and_then(|length| length.parse().ok());
            response.body = vec![0; length.ok_or_else(|| wrong("an answer without a length"))?];
            self.0.read_exact(&mut response.body)?;
        }
        Ok(response)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(text) => Ok(text.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Client for Http {
    fn ask_list(&mut self, request: &[u8]) -> Result<Answer, String> {
        let response = self.request("POST", "/call", &[], request)?;
        match response.status {
            200 => Answer::of(&response.body),
            status => Err(format!("POST /call: {status} {}", String::from_utf8_lossy(&response.body))),
        }
    }
}
