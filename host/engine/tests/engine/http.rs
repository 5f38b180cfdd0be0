//! HTTP instances: what keeps them, and what ends them.

use std::sync::{Arc, LazyLock};

use recoil_engine::{AppCode, Environment, HttpError, HttpRequest, HttpService, Limits};

use crate::listeners::Echo;
use crate::{ENGINE, environment, guest, load, log_lines};

static WEB: LazyLock<Arc<AppCode>> = LazyLock::new(|| load(&ENGINE, &guest::http()));

struct Client {
    service: Arc<HttpService>,
    environment: Environment,
}

impl Client {
    fn new(limits: Limits) -> Self {
        Self::of(&WEB, limits)
    }

    fn of(code: &Arc<AppCode>, limits: Limits) -> Self {
        let environment = environment(limits);
        let service = HttpService::new(code.clone(), environment.clone(), Arc::new(Echo::default()), false);
        Client { service, environment }
    }

    async fn ask(&self, path: &str, body: &[u8]) -> Result<Vec<u8>, HttpError> {
        let request = HttpRequest {
            method: "POST".into(),
            path: path.into(),
            query: String::new(),
            headers: vec![("x".into(), b"y".to_vec())],
            body: body.to_vec(),
            peer_address: "127.0.0.1:1".into(),
        };
        let answer = self.service.respond("127.0.0.1:1".parse().unwrap(), request).await?;
        assert_eq!(answer.status, 200);
        Ok(answer.body)
    }

    /// How many requests the instance that answers this one has answered, with it.
    async fn count(&self) -> u8 {
        self.ask("/c", b"").await.unwrap()[0] - b'0'
    }
}

#[tokio::test]
async fn an_instance_is_kept_between_requests_and_an_error_costs_it_nothing() {
    let client = Client::new(Limits::default());
    assert_eq!(client.ask("/e", b"hello").await.unwrap(), b"hello");
    assert_eq!(client.count().await, 2);
    assert_eq!(client.ask("/r because", b"").await, Err(HttpError::Failed));
    assert_eq!(client.count().await, 4);
    let lines = log_lines(&client.environment);
    assert!(lines.iter().any(|line| line.starts_with("error") && line.contains("/r because")), "{lines:?}");
}

#[tokio::test]
async fn a_trap_ends_its_instance_and_no_other_request() {
    let client = Client::new(Limits::default());
    assert_eq!(client.count().await, 1);
    assert_eq!(client.ask("/u", b"").await, Err(HttpError::Failed));
    assert_eq!(client.count().await, 1, "a new instance");
    let lines = log_lines(&client.environment);
    assert!(
        lines.iter().any(|line| line.contains("POST /u from 127.0.0.1:1") && line.contains("unreachable")),
        "{lines:?}"
    );
}

/// Fails if an instance goes back with what it has not dropped: its handles would fill up.
#[tokio::test]
async fn what_a_request_leaves_behind_goes_with_its_instance() {
    let client = Client::new(Limits::default());
    client.ask("/k", b"").await.unwrap();
    assert_eq!(client.count().await, 1);
}

#[tokio::test]
async fn requests_at_the_same_time_have_instances_of_their_own() {
    let client = Arc::new(Client::new(Limits { http_ms_max: 500, ..Limits::default() }));
    let waiting = {
        let client = client.clone();
        recoil_base::task::spawn_detached(async move { client.ask("/w", b"").await })
    };
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(client.count().await, 1, "the other one waits for a message");
    assert_eq!(waiting.await.unwrap(), Err(HttpError::TimedOut(500)));
    let lines = log_lines(&client.environment);
    assert!(lines.iter().any(|line| line.contains("no answer within 500 ms (limit http_ms)")), "{lines:?}");
}

#[tokio::test]
async fn an_answer_above_the_limit_is_refused() {
    let mut limits = Limits::default();
    limits.set("answer_bytes", 4);
    let client = Client::new(limits);
    assert_eq!(client.ask("/e", b"four").await.unwrap(), b"four");
    assert_eq!(client.ask("/e", b"fives").await, Err(HttpError::Failed));
    let lines = log_lines(&client.environment);
    assert!(lines.iter().any(|line| line.contains("limit answer_bytes: 4")), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_loop_ends_at_its_limits() {
    let client = Client::new(Limits { compute_ms_max: 100, ..Limits::default() });
    assert_eq!(client.ask("/l", b"").await, Err(HttpError::Failed));
    let client = Client::new(Limits { http_ms_max: 100, ..Limits::default() });
    assert_eq!(client.ask("/l", b"").await, Err(HttpError::TimedOut(100)));
    assert_eq!(client.count().await, 1);
}

/// Fails if an instance counts for memory that it shares with all others, or if what it touches of it is nobody's.
#[tokio::test]
async fn instances_count_for_what_they_touch_and_end_when_that_is_too_much() {
    let code = load(&ENGINE, &guest::large_http());
    let limits = Limits { http_ms_max: 1000, app_memory_bytes_max: 64 << 20, ..Limits::default() };
    let client = Client::of(&code, limits);
    let waiting = (0..8).map(|_| client.ask("/w", b""));
    let waited = futures::future::join_all(waiting).await;
    assert!(waited.iter().all(|answer| *answer == Err(HttpError::TimedOut(1000))), "{waited:?}");
    assert_eq!(code.memory_bytes(), 0);

    let filling = (0..4).map(|_| client.ask("/f", b""));
    let filled = futures::future::join_all(filling).await;
    let ended = filled.iter().filter(|answer| **answer == Err(HttpError::Failed)).count();
    assert_eq!(ended, 2, "two have room: {filled:?}");
    let lines = log_lines(&client.environment);
    assert!(
        lines.iter().any(|line| line.contains("POST /f") && line.contains("limit app_memory_bytes: 64 MiB")),
        "{lines:?}"
    );
    assert_eq!((client.count().await, client.count().await), (1, 2), "the app goes on");
    drop(client);
    assert_eq!(code.memory_bytes(), 0);
}
