//! Command lines, and exit codes against servers that misbehave.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

#[test]
fn command_lines_are_understood_or_refused() {
    use clap::CommandFactory as _;
    Arguments::command().debug_assert();
    for good in [
        "install redis-server",
        "install ./a.wasm -o json",
        "install a --name b --listen http=7000 --set greeting=hi --yes",
        "install acme/a@1.0.0 --lock recoil.lock",
        "push",
        "dev --path a --name b --listen http=7000",
        "push oci://h/acme/a:1.0.0 --path a --replace",
        "registry list -o yaml",
        "registry packages",
        "registry collect --kept 30m",
        "completions bash",
        "set a greeting=hi",
        "new a --kind tcp",
        "build --path a",
        "test",
        "uninstall a",
        "uninstall a --keep-data",
        "uninstall a --yes",
        "data list",
        "data delete a --yes",
        "list",
        "inspect a",
        "logs a --follow",
        "status",
        "status --watch",
        "status --watch 5 -o json",
        "--server h:1 status",
        "-o json s3 key create alice --bucket photos",
        "s3 --help",
        "partition list --moving --under-replicated",
        "partition show 17 -o json",
        "partition move 0-3,17 --to 1,2,4",
        "partition cancel 17",
        "moves --watch",
        "node list -o json",
        "node show 3",
        "node drain 3 --no-wait",
        "node drain 3 --wait",
        "node undrain 0000000a",
        "node decommission 3 --dry-run",
        "node replace 3 --with 4 -o json",
    ] {
        Arguments::try_parse_from(["recoilctl"].into_iter().chain(good.split(' ')))
            .unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    for wrong in [
        "",
        "install",
        "status -o xml",
        "push --file a --path b",
        "registry",
        "registry collect --kept 5d",
        "logs",
        "data",
        "data delete",
        "status --watch 0",
        "set a",
        "set a b",
        "install a --listen 7000",
        "new",
        "partition",
        "partition move 17",
        "partition move x --to 1",
        "node",
        "node drain",
        "node drain 3 --wait --no-wait",
        "node replace",
    ] {
        let words = ["recoilctl"].into_iter().chain(wrong.split(' ').filter(|word| !word.is_empty()));
        assert!(Arguments::try_parse_from(words).is_err(), "{wrong}");
    }
    let typed = Arguments::try_parse_from(["recoilctl", "s3", "key", "create", "alice", "-o", "x", "--help"]).unwrap();
    assert!(matches!(&typed.verb, Verb::App(words) if words[1..] == ["key", "create", "alice", "-o", "x", "--help"]));
    let help = Arguments::command().render_help().to_string();
    assert!(help.contains("recoilctl install redis-server") && help.contains("3 no node"), "{help}");
}

/// Fails if a verb that does not exist is answered as if only the node were missing, or looks like an app that exists.
#[tokio::test]
async fn what_is_no_verb_may_be_an_app_and_else_is_named() {
    let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 88\r\n\r\n{\"error\":{\"code\":\"not-found\",\"message\":\"there is no app named qwertyu\",\"hint\":\"see it\"}}";
    let words = ["qwertyu".to_owned(), "now".to_owned()];
    let mut output = Output::stdout(Format::Json);
    let client = Client::new(&server(answer).await.to_string());
    let error = app::run(&words, &client, &mut output).await.unwrap_err();
    assert!(error.to_string().contains("'qwertyu' is neither a verb of recoilctl nor an app"), "{error}");
    let free = { TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
    let error = app::run(&words, &Client::new(&free.to_string()), &mut output).await.unwrap_err();
    assert!(error.to_string().contains("'qwertyu' is not a verb of recoilctl"), "{error}");
    assert_eq!(error.exit_code(), exit::UNREACHABLE);
    let error = app::run(&["../x".to_owned()], &client, &mut output).await.unwrap_err();
    assert!(error.to_string().contains("no verb '../x'"), "{error}");
}

/// A server that sends `answer` to whoever asks, once.
async fn server(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    recoil_base::task::spawn_detached(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(answer).await;
    });
    address
}

async fn code(server: &str, words: &str) -> u8 {
    let words = ["recoilctl", "--server", server].into_iter().chain(words.split(' '));
    let arguments = Arguments::try_parse_from(words).unwrap();
    let client = Client::new(&arguments.server);
    let mut output = Output::stdout(Format::Json);
    match &arguments.verb {
        Verb::Status(status) => status.run(&client, &mut output).await,
        Verb::Inspect(inspect) => inspect.run(&client, &mut output).await,
        Verb::Install(install) => install.run(&client, &mut output).await,
        Verb::App(words) => app::run(words, &client, &mut output).await,
        _ => unreachable!(),
    }
    .map_or_else(|error| error.exit_code(), |()| exit::OK)
}

#[tokio::test]
async fn nobody_there_is_code_3_and_everything_else_code_1() {
    let free = { TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
    assert_eq!(code(&free.to_string(), "status").await, exit::UNREACHABLE);
    assert_eq!(code("no-such-host.invalid", "status").await, exit::UNREACHABLE);
    for answer in [
        &b""[..],
        b"+PONG\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{}",
        b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\noops",
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 64\r\n\r\n{\"error\":{\"code\":\"not-found\",\"message\":\"no such app\",\"hint\":\"\"}} ",
    ] {
        assert_eq!(code(&server(answer).await.to_string(), "status").await, exit::FAILED, "{answer:?}");
    }
    assert_eq!(code("127.0.0.1:1", "inspect ../etc").await, exit::FAILED);
    assert_eq!(code("127.0.0.1:1", "install ./no-such-file.wasm").await, exit::FAILED);
}

#[tokio::test]
async fn a_refusal_carries_the_nodes_own_words() {
    let answer = b"HTTP/1.1 409 Conflict\r\nconnection: close\r\n\r\n\
        {\"error\":{\"code\":\"conflict\",\"message\":\"it is being removed\",\"hint\":\"wait for it\"}}";
    let client = Client::new(&server(answer).await.to_string());
    let error = client.get::<serde_json::Value>("/v1/apps").await.unwrap_err().to_string();
    assert_eq!(error, "it is being removed: wait for it");
}
