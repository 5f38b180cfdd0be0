//! An HTTP package as users see it: `guests/bank` on three nodes, asked with curl.

// Whole programs are tested against the clock on the wall.
#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use recoil_cluster_tests::{Cluster, Ports, eventually, run};
use serde_json::{Value, json};

/// Status and body of the answer at a port; none when there is none.
fn try_ask(port: u16, method: &str, path: &str, key: &str, body: &Value) -> Option<(u16, Value)> {
    let url = format!("http://127.0.0.1:{port}{path}");
    let (key, body) = (format!("Idempotency-Key: {key}"), body.to_string());
    let words = ["-sS", "--max-time", "30", "-X", method, "-H", &key, "-d", &body, "-w", "\n%{http_code}", &url];
    let printed = run("curl", &words).stdout;
    let (body, status) = printed.rsplit_once('\n')?;
    let status = status.parse().ok().filter(|status| *status != 0)?;
    Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}

fn ask(port: u16, method: &str, path: &str, key: &str, body: &Value) -> (u16, Value) {
    try_ask(port, method, path, key, body).unwrap_or_else(|| panic!("{port} does not answer {method} {path}"))
}

fn balance(port: u16, account: &str) -> u64 {
    let (status, account) = ask(port, "GET", &format!("/branches/north/accounts/{account}"), "", &Value::Null);
    assert_eq!(status, 200, "{account}");
    account["balance"].as_u64().unwrap()
}

/// Installs the bank under a name; the port of its node 0.
fn install(cluster: &Cluster, name: &str) -> u16 {
    let port = Ports::free(3).redis(0);
    let listen = format!("api={}", port - cluster.ports().offset);
    let printed = cluster.ctl(0, &["install", "--yes", "bank", "--name", name, "--listen", &listen]).ok();
    assert!(printed.contains(&format!("{name} 0.1.0 is serving on 3 of 3 nodes")), "{printed}");
    assert!(printed.contains(&format!("api  127.0.0.1:{}", port + 2)), "{printed}");
    port
}

fn open_accounts(port: u16, amount: u64) {
    for name in ["ann", "bob"] {
        assert_eq!(ask(port, "PUT", &format!("/branches/north/accounts/{name}"), "", &json!({})).0, 201);
    }
    let deposit = ask(port + 1, "POST", "/branches/north/accounts/ann/deposits", "d", &json!({ "amount": amount }));
    assert_eq!(deposit, (200, json!({ "account": "ann", "balance": amount })));
}

/// Fails if apps of one package share anything, or a request meets another node's state.
#[test]
fn two_apps_of_one_package_have_ports_and_data_of_their_own() {
    let mut cluster = Cluster::simulator();
    let (first, second) = (install(&cluster, "first-bank"), install(&cluster, "second-bank"));
    open_accounts(first, 100);
    assert_eq!(ask(second, "GET", "/branches/north/accounts/ann", "", &Value::Null).0, 404);
    open_accounts(second, 7);
    let order = json!({ "from": "ann", "to": "bob", "amount": 30 });
    assert_eq!(ask(first + 2, "POST", "/branches/north/transfers", "t", &order).0, 200);
    for k in 0..3 {
        assert_eq!((balance(first + k, "ann"), balance(first + k, "bob"), balance(second + k, "ann")), (70, 30, 7));
    }
    let url = format!("http://127.0.0.1:{first}/branches/north/accounts/bob");
    let http2 = run("curl", &["-sS", "--http2-prior-knowledge", "-w", " %{http_version}", &url]).ok();
    assert_eq!(http2.trim(), r#"{"account":"bob","balance":30} 2"#);

    let taken = cluster.ctl(1, &["install", "--yes", "bank", "--name", "third-bank", "--listen", "api=6379"]).failed(1);
    assert!(taken.contains("port 6379 is already used by the app redis-server"), "{taken}");
    let unknown = cluster.ctl(1, &["install", "--yes", "bank", "--name", "third-bank", "--listen", "web=1"]).failed(1);
    assert!(unknown.contains("bank has no listener named web") && unknown.contains("--listen api=1"), "{unknown}");
    cluster.ctl(1, &["uninstall", "first-bank", "--yes"]).ok();
    assert_eq!(try_ask(first, "GET", "/branches/north/accounts/ann", "", &Value::Null), None);
    assert_eq!(balance(second + 1, "ann"), 7, "the other app stays");
    cluster.stop();
}

/// Fails if an order that is sent again is carried out again, or one that was answered is lost.
#[test]
fn money_is_neither_lost_nor_made_while_nodes_are_killed() {
    let mut cluster = Cluster::processes();
    let port = install(&cluster, "bank");
    open_accounts(port, 1000);
    let orders = 40;
    let clients: Vec<_> = (0..2)
        .map(|client| {
            std::thread::spawn(move || {
                for at in 0..orders {
                    let (key, order) = (format!("{client}-{at}"), json!({ "from": "ann", "to": "bob", "amount": 1 }));
                    let mut node = at;
                    eventually("an order is carried out", || {
                        node += 1;
                        match try_ask(port + node % 3, "POST", "/branches/north/transfers", &key, &order) {
                            Some((200, _)) => Ok(()),
                            other => Err(format!("{other:?}")),
                        }
                    });
                }
            })
        })
        .collect();
    for k in [0, 1, 2] {
        std::thread::sleep(Duration::from_millis(500));
        cluster.kill(k);
        cluster.start_node(k);
        cluster.wait_serving(k);
    }
    for client in clients {
        client.join().unwrap();
    }
    let moved = 2 * u64::from(orders);
    for k in 0..3 {
        eventually("every node answers", || {
            match try_ask(port + k, "GET", "/branches/north/accounts/ann", "", &json!({})) {
                Some((200, _)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        assert_eq!((balance(port + k, "ann"), balance(port + k, "bob")), (1000 - moved, moved));
    }
    let (_, page) = ask(port, "GET", "/branches/north/accounts/bob/statement", "", &Value::Null);
    assert_eq!(page["entries"].as_array().unwrap().len() as u64, moved, "{page}");
    cluster.stop();
}
