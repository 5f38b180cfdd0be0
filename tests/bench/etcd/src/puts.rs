//! Clients that put, on connections that they share.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::messages::{framed, is_leader, put_request, unframed};

/// Clients of a connection: HTTP/2 makes requests share one.
const CLIENTS_OF_CONNECTION: usize = 8;
/// No answer takes longer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long a leader is waited for.
const ELECTION: Duration = Duration::from_secs(30);

/// What is put.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) value_bytes: usize,
    pub(crate) keys: u64,
}

/// What the clients saw.
pub(crate) struct Seen {
    pub(crate) latencies_us: Vec<u32>,
    took: Duration,
}

impl Seen {
    /// Answers in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies_us.len() as f64 / self.took.as_secs_f64()
    }

    /// The smallest latency that `percent` of all are not above.
    pub(crate) fn percentile_us(&mut self, percent: usize) -> u32 {
        self.latencies_us.sort_unstable();
        let rank = (self.latencies_us.len() * percent).div_ceil(100);
        self.latencies_us.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// The address of the member that leads.
pub(crate) async fn leader(members: &[String]) -> anyhow::Result<String> {
    let end = Instant::now() + ELECTION;
    let mut last = None;
    loop {
        for member in members {
            match leads(member).await {
                Ok(true) => return Ok(member.clone()),
                Ok(false) => {}
                Err(error) => last = Some(error), // a member that is not ready is asked again
            }
        }
        if Instant::now() > end {
            let why = last.unwrap_or_else(|| anyhow::anyhow!("each says that it follows"));
            return Err(why.context(format!("no member leads after {} s", ELECTION.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Puts from so many clients for about so long.
pub(crate) async fn run(address: &str, clients: usize, length: Duration, kind: Kind) -> anyhow::Result<Seen> {
    let mut connections = Vec::new();
    for _ in 0..clients.div_ceil(CLIENTS_OF_CONNECTION) {
        connections.push(Connection::open(address).await?);
    }
    let (mut tasks, begun) = (JoinSet::new(), Instant::now());
    for number in 0..clients {
        let client = connections[number % connections.len()].client();
        tasks.spawn(one_client(client, number as u64, begun + length, kind));
    }
    let mut latencies_us = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies_us.extend(done.context("a client panicked")??);
    }
    Ok(Seen { latencies_us, took: begun.elapsed() })
}

/// Latencies in microseconds.
async fn one_client(mut client: Client, number: u64, end: Instant, kind: Kind) -> anyhow::Result<Vec<u32>> {
    let (mut latencies, value) = (Vec::new(), vec![b'x'; kind.value_bytes]);
    let mut dice = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    loop {
        let begun = Instant::now();
        if begun >= end {
            return Ok(latencies);
        }
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let key = format!("key:{:012}", dice % kind.keys);
        client.call("KV/Put", put_request(key.as_bytes(), &value)).await?;
        latencies.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
}

async fn leads(address: &str) -> anyhow::Result<bool> {
    let connection = Connection::open(address).await?;
    let answer = connection.client().call("Maintenance/Status", framed(&[])).await?;
    unframed(&answer).and_then(is_leader).context("etcd answers another status than that of 3.x")
}

/// A connection, kept going by a task that ends with it.
struct Connection {
    sender: SendRequest<Bytes>,
    authority: String,
    _task: JoinSet<()>,
}

impl Connection {
    async fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("etcd at {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            // Its error is also the error of every request on it.
            let _ = connection.await;
        });
        Ok(Connection { sender, authority: address.to_owned(), _task: task })
    }

    fn client(&self) -> Client {
        Client { sender: self.sender.clone(), authority: self.authority.clone() }
    }
}

struct Client {
    sender: SendRequest<Bytes>,
    authority: String,
}

impl Client {
    /// One call, whose answer is one frame.
    async fn call(&mut self, method: &str, request: Bytes) -> anyhow::Result<Bytes> {
        tokio::time::timeout(TIMEOUT, self.exchange(method, request))
            .await
            .with_context(|| format!("etcd at {} did not answer within {} s", self.authority, TIMEOUT.as_secs()))?
    }

    async fn exchange(&mut self, method: &str, message: Bytes) -> anyhow::Result<Bytes> {
        let request = http::Request::post(format!("http://{}/etcdserverpb.{method}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        std::future::poll_fn(|context| self.sender.poll_ready(context)).await?;
        let (response, mut stream) = self.sender.send_request(request, false)?;
        stream.send_data(message, true)?;
        let response = response.await?;
        ensure!(response.status() == http::StatusCode::OK, "etcd answers {}", response.status());
        let early = response.headers().get("grpc-status").cloned();
        let mut body = response.into_body();
        let mut answer = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            answer.extend_from_slice(&chunk);
        }
        let trailers = body.trailers().await?.unwrap_or_default();
        match early.as_ref().or(trailers.get("grpc-status")) {
            Some(status) if status == "0" => Ok(answer.freeze()),
            status => bail!("etcd refuses {method}: status {status:?}, {:?}", trailers.get("grpc-message")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_latency_that_was_seen() {
        let mut seen = Seen { latencies_us: (1..=200).rev().collect(), took: Duration::from_secs(2) };
        assert_eq!([50, 99, 100].map(|percent| seen.percentile_us(percent)), [100, 198, 200]);
        assert!((seen.rate() - 100.0).abs() < f64::EPSILON);
        let mut none = Seen { latencies_us: vec![], took: Duration::from_secs(2) };
        assert_eq!(none.percentile_us(50), 0);
    }
}
