//! A client of the admin API: one connection for each request, every wait bounded.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use recoil_base::Endpoint;
use recoil_gateway::api::{AdminError, ErrorBody};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The node that is asked if nobody says which.
pub const SERVER_DEFAULT: &str = "127.0.0.1:7400";
/// Time for reaching a node.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for an answer that a node has at hand.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for an installation, which compiles on every node.
pub const INSTALL_TIMEOUT: Duration = Duration::from_secs(300);
/// A followed log shows that it is alive more often than this.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Bytes of one line of a streamed answer.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody there.
    #[error("no node answers at {server}: {why}; is it running? Name another with --server or RECOIL_SERVER")]
    Unreachable {
        /// The address that was tried.
        server: String,
        /// The system's reason.
        why: String,
    },
    /// The node answered, and refused.
    #[error(transparent)]
    Refused(#[from] AdminError),
    /// The connection ended, or went silent, in the middle.
    #[error("the node at {server} did not answer to the end: {why}; see `recoilctl status` and try again")]
    Broken {
        /// The node's address.
        server: String,
        /// What happened.
        why: String,
    },
    /// Something answered, but no Recoil node of this version.
    #[error("what answers at {server} does not speak this admin API ({why}); check the address and the versions")]
    Foreign {
        /// The address.
        server: String,
        /// What was wrong.
        why: String,
    },
}

/// Reads the address of a node as people write it, with or without a port and `http://`; nothing means the default.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn read_server(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(SERVER_DEFAULT.to_owned());
    }
    if text.starts_with("https://") {
        return Err(format!("nodes speak no TLS: write {} without https://", text.trim_start_matches("https://")));
    }
    let plain = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    plain.parse::<Endpoint>().map(|endpoint| endpoint.to_string()).map_err(|error| error.to_string())
}

/// A node's admin API.
#[derive(Clone, Debug)]
pub struct Client {
    server: String,
}

impl Client {
    /// The node at `server`, written `host:port`; what people write goes through [`read_server`] first.
    pub fn new(server: &str) -> Self {
        Client { server: server.to_owned() }
    }

    /// The address in use.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// GET a JSON value.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Bytes::new(), ANSWER_TIMEOUT).await
    }

    /// POST bytes or JSON, for a JSON value.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: impl Into<Bytes>) -> Result<T, ClientError> {
        self.ask(Method::POST, path, body.into(), INSTALL_TIMEOUT).await
    }

    /// PATCH with JSON, for a JSON value.
    pub async fn patch<T: DeserializeOwned>(&self, path: &str, body: impl Into<Bytes>) -> Result<T, ClientError> {
        self.ask(Method::PATCH, path, body.into(), ANSWER_TIMEOUT).await
    }

    /// DELETE.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::DELETE, path, Bytes::new(), INSTALL_TIMEOUT).await
    }

    /// GET a stream of lines, handing each non-empty one to `line` until the stream ends or `line` answers false.
    pub async fn lines(&self, path: &str, mut line: impl FnMut(&[u8]) -> bool) -> Result<(), ClientError> {
        let response = timeout(ANSWER_TIMEOUT, self.send(Method::GET, path, Bytes::new()))
            .await
            .map_err(|_| self.silent(ANSWER_TIMEOUT))??;
        if !response.status().is_success() {
            return Err(self.refusal(response, ANSWER_TIMEOUT).await);
        }
        let mut body = response.into_body();
        let mut pending = BytesMut::new();
        loop {
            let frame = match timeout(SILENCE_MAX, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(self.broken(error)),
                Ok(None) => return Ok(()),
                Err(_) => return Err(self.silent(SILENCE_MAX)),
            };
            pending.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let text = pending.split_to(end + 1);
                if end > 0 && !line(&text[..end]) {
                    return Ok(());
                }
            }
            if pending.len() > LINE_BYTES_MAX {
                return Err(self.foreign(format!("a line has more than {LINE_BYTES_MAX} bytes")));
            }
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        time: Duration,
    ) -> Result<T, ClientError> {
        let response = timeout(time, self.send(method, path, body)).await.map_err(|_| self.silent(time))??;
        if !response.status().is_success() {
            return Err(self.refusal(response, time).await);
        }
        let text = self.collect(response, time).await?;
        serde_json::from_slice(&text).map_err(|error| self.foreign(error))
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
        let unreachable = |why: String| ClientError::Unreachable { server: self.server.clone(), why };
        let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.server)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unreachable(error.to_string())),
            Err(_) => return Err(unreachable(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()))),
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.foreign(error))?;
        recoil_base::task::spawn_detached(async move {
            // Its end is seen by whoever reads the answer.
            let _ = connection.await;
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.server)
            .header(CONNECTION, "close")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.foreign(error))?;
        sender
            .send_request(request)
            .await
            .map_err(|error| if error.is_parse() { self.foreign(error) } else { self.broken(error) })
    }

    /// The node's own words for a failure, if it has some.
    async fn refusal(&self, response: Response<Incoming>, time: Duration) -> ClientError {
        let status = response.status();
        match self.collect(response, time).await {
            Ok(text) => match serde_json::from_slice::<ErrorBody>(&text) {
                Ok(body) => ClientError::Refused(body.error),
                Err(_) => self.foreign(format!("it answered {status} without saying why")),
            },
            Err(error) => error,
        }
    }

    async fn collect(&self, response: Response<Incoming>, time: Duration) -> Result<Bytes, ClientError> {
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
        match timeout(time, body).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) => Err(self.broken(error)),
            Err(_) => Err(self.silent(time)),
        }
    }

    fn broken(&self, why: impl ToString) -> ClientError {
        ClientError::Broken { server: self.server.clone(), why: why.to_string() }
    }

    fn silent(&self, time: Duration) -> ClientError {
        self.broken(format!("nothing came for {} s", time.as_secs()))
    }

    fn foreign(&self, why: impl ToString) -> ClientError {
        ClientError::Foreign { server: self.server.clone(), why: why.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a form that people write is refused, or an empty variable is taken for an address.
    #[test]
    fn a_server_is_read_as_people_write_it() {
        for (text, server) in [
            ("", SERVER_DEFAULT),
            (" ", SERVER_DEFAULT),
            ("localhost", "localhost:7400"),
            ("::1", "[::1]:7400"),
            ("[::1]", "[::1]:7400"),
            ("[::1]:7401", "[::1]:7401"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("http://node-0:7400/", "node-0:7400"),
            ("http://node-0", "node-0:7400"),
        ] {
            assert_eq!(read_server(text).as_deref(), Ok(server), "{text}");
        }
        for (text, why) in [("https://a:1", "no TLS"), (":7400", "no host"), ("a b", "HOST:PORT"), ("7401", "number")] {
            let error = read_server(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
