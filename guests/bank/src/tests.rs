//! The package as a client sees it, on partitions in memory.

use recoil_sdk::fake::FakeCluster;
use recoil_sdk::{HttpHandler as _, HttpRequest};
use serde_json::{Value, json};

use crate::Bank;
use crate::ledger::KEPT_US;

struct Client(FakeCluster);

impl Client {
    fn new() -> Self {
        Client(FakeCluster::new::<Bank>(8, 3))
    }

    fn ask(&self, method: &str, target: &str, key: &str, body: &Value) -> (u16, Value, bool) {
        let mut request = HttpRequest::new(method, target).with_body(body.to_string());
        if !key.is_empty() {
            request = request.with_header("Idempotency-Key", key);
        }
        let answer = Bank::respond(&request, &self.0).unwrap();
        let replayed = answer.headers.iter().any(|(name, _)| name == "idempotent-replayed");
        (answer.status, serde_json::from_slice(&answer.body).unwrap(), replayed)
    }

    fn get(&self, target: &str) -> Value {
        let (status, body, _) = self.ask("GET", target, "", &json!({}));
        assert_eq!(status, 200, "{body}");
        body
    }

    fn with_two_accounts() -> Self {
        let client = Client::new();
        for name in ["ann", "bob"] {
            let path = format!("/branches/north/accounts/{name}");
            assert_eq!(client.ask("PUT", &path, "", &json!({})).0, 201);
            assert_eq!(client.ask("PUT", &path, "", &json!({})).0, 200, "opening again changes nothing");
        }
        let deposit = client.ask("POST", "/branches/north/accounts/ann/deposits", "d1", &json!({ "amount": 100 }));
        assert_eq!(deposit, (200, json!({ "account": "ann", "balance": 100 }), false));
        client
    }

    fn balances(&self) -> (u64, u64) {
        let of = |name| self.get(&format!("/branches/north/accounts/{name}"))["balance"].as_u64().unwrap();
        (of("ann"), of("bob"))
    }
}

#[test]
fn a_transfer_moves_money_once_however_often_it_is_sent() {
    let client = Client::with_two_accounts();
    let order = json!({ "from": "ann", "to": "bob", "amount": 30 });
    let first = client.ask("POST", "/branches/north/transfers", "t1", &order);
    assert_eq!(first, (200, json!({ "account": "ann", "balance": 70 }), false));
    let again = client.ask("POST", "/branches/north/transfers", "t1", &order);
    assert_eq!(again, (200, json!({ "account": "ann", "balance": 70 }), true));
    assert_eq!(client.balances(), (70, 30));
    let other = json!({ "from": "ann", "to": "bob", "amount": 31 });
    assert_eq!(client.ask("POST", "/branches/north/transfers", "t1", &other).0, 422);
    // A day later the key is forgotten, and the order is a new one.
    client.0.advance::<Bank>(KEPT_US + 1);
    assert_eq!(client.ask("POST", "/branches/north/transfers", "t1", &order).0, 200);
    assert_eq!(client.balances(), (40, 60));
}

#[test]
fn what_is_refused_moves_nothing() {
    let client = Client::with_two_accounts();
    let transfer = |key: &str, from: &str, to: &str, amount: Value| {
        let order = json!({ "from": from, "to": to, "amount": amount });
        client.ask("POST", "/branches/north/transfers", key, &order).0
    };
    assert_eq!(transfer("1", "ann", "bob", json!(101)), 409);
    assert_eq!(transfer("2", "ann", "eve", json!(1)), 404);
    assert_eq!(transfer("3", "eve", "ann", json!(1)), 404);
    assert_eq!(transfer("4", "ann", "ann", json!(1)), 400);
    for amount in [json!(0), json!(-1), json!(1.5), json!("1"), json!(1u64 << 53)] {
        assert_eq!(transfer("5", "ann", "bob", amount), 400);
    }
    assert_eq!(transfer("", "ann", "bob", json!(1)), 400, "no key");
    let much = json!({ "amount": (1u64 << 53) - 1 });
    assert_eq!(client.ask("POST", "/branches/north/accounts/ann/deposits", "6", &much).0, 409);
    let more = json!({ "amount": 1000 });
    assert_eq!(client.ask("POST", "/branches/north/accounts/ann/withdrawals", "7", &more).0, 409);
    assert_eq!(client.balances(), (100, 0));
    // Branches know nothing of each other.
    assert_eq!(client.ask("GET", "/branches/south/accounts/ann", "", &json!({})).0, 404);
}

#[test]
fn a_statement_is_read_in_pages_newest_first() {
    let client = Client::with_two_accounts();
    for at in 1..=4 {
        let order = json!({ "from": "ann", "to": "bob", "amount": at });
        assert_eq!(client.ask("POST", "/branches/north/transfers", &format!("t{at}"), &order).0, 200);
    }
    let page = client.get("/branches/north/accounts/ann/statement?limit=3");
    let amounts = |page: &Value| -> Vec<u64> {
        page["entries"].as_array().unwrap().iter().map(|entry| entry["amount"].as_u64().unwrap()).collect()
    };
    assert_eq!(amounts(&page), [4, 3, 2]);
    assert_eq!(page["entries"][0]["other"], "bob");
    let rest = client.get(&format!("/branches/north/accounts/ann/statement?before={}", page["next_before"]));
    assert_eq!((amounts(&rest), &rest["next_before"]), (vec![1, 100], &Value::Null));
}

#[test]
fn wrong_requests_are_answered_with_what_to_do() {
    let client = Client::with_two_accounts();
    let status = |method: &str, target: &str| client.ask(method, target, "k", &json!({ "amount": 1 })).0;
    assert_eq!(status("GET", "/"), 404);
    assert_eq!(status("GET", "/branches/north/elsewhere"), 404);
    assert_eq!(status("DELETE", "/branches/north/accounts/ann"), 405);
    assert_eq!(status("GET", "/branches/north/transfers"), 405);
    assert_eq!(status("GET", "/branches/north/accounts/%ff"), 400);
    assert_eq!(status("GET", &format!("/branches/north/accounts/{}", "a".repeat(65))), 400);
    assert_eq!(status("GET", "/branches/north/accounts/ann/statement?limit=x"), 400);
    let text = HttpRequest::new("POST", "/branches/north/transfers").with_header("idempotency-key", "k").with_body("{");
    assert_eq!(Bank::respond(&text, &client.0).unwrap().status, 400);
}
