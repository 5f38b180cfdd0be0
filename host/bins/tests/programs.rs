//! The programs as a shell sees them, without a cluster: usage, help, exit codes.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

fn run(program: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(program)
        .args(arguments)
        .env_remove("RECOIL_SERVER")
        .output()
        .expect("the program was built with this test");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned())
}

const RECOIL: &str = env!("CARGO_BIN_EXE_recoil");
const RECOILCTL: &str = env!("CARGO_BIN_EXE_recoilctl");
const SIMULATOR: &str = env!("CARGO_BIN_EXE_recoil_simulator");

#[test]
fn help_shows_an_example_and_the_exit_codes() {
    for (program, arguments, example) in [
        (RECOIL, &["--help"][..], "recoil start --data-dir"),
        (RECOIL, &["start", "--help"], "--port-offset"),
        (RECOILCTL, &["--help"], "recoilctl install redis-server"),
        (SIMULATOR, &["--help"], "recoil_simulator --number-of-nodes=3"),
    ] {
        let (code, stdout, _) = run(program, arguments);
        assert_eq!(code, Some(0), "{program}");
        assert!(stdout.contains(example), "{stdout}");
    }
    assert!(run(RECOILCTL, &["--help"]).1.contains("Exit codes"));
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_to_do() {
    for (program, arguments) in [
        (RECOIL, &["start"][..]),
        (RECOIL, &["begin"]),
        (RECOIL, &["start", "--data-dir", "x", "--listen", "nowhere:"]),
        (RECOIL, &["start", "--data-dir", "x", "--join", "7400"]),
        (RECOILCTL, &["--server", ":7400", "status"]),
        (RECOIL, &["start", "--data-dir", "x", "--expect", "0"]),
        (RECOILCTL, &["instal", "redis-server"]),
        (RECOILCTL, &["status", "-o", "xml"]),
        (SIMULATOR, &["--number-of-nodes=0"]),
        (SIMULATOR, &["--base-port=99999"]),
    ] {
        let (code, _, stderr) = run(program, arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains("--help"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_node_that_is_not_there_exits_with_3_and_names_the_address() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    drop(holder);
    for arguments in
        [&["status"][..], &["list"], &["inspect", "a"], &["logs", "a"], &["install", "a"], &["uninstall", "a"]]
    {
        let (code, stdout, stderr) = run(RECOILCTL, &[&["--server", &address], arguments].concat());
        assert_eq!(code, Some(3), "{arguments:?}: {stderr}");
        assert!(stdout.is_empty() && stderr.contains(&address) && stderr.contains("RECOIL_SERVER"), "{stderr}");
    }
}

/// Fails if a program under one of its other names does not become `recoil`, or does not say what it lacks.
#[test]
fn the_other_names_need_the_program_in_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("recoilctl");
    std::fs::copy(RECOILCTL, &alone).unwrap();
    let (code, _, stderr) = run(alone.to_str().unwrap(), &["--version"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("must be in the same folder"), "{stderr}");
    // A link is followed to the folder of the program itself.
    let link = folder.path().join("ctl");
    std::os::unix::fs::symlink(RECOILCTL, &link).unwrap();
    let (code, stdout, stderr) = run(link.to_str().unwrap(), &["--version"]);
    assert_eq!((code, stdout.starts_with("recoilctl ")), (Some(0), true), "{stdout}{stderr}");
}

/// Fails if a log line is not a JSON object with its time in UTC, or something other than the lines that scripts wait for is on
/// standard output.
#[test]
fn logs_are_for_programs_too_and_not_on_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("node");
    let mut node = Command::new(RECOIL)
        .args(["start", "--listen", "127.0.0.1:0", "--partitions", "2", "--log-format", "json", "--data-dir"])
        .arg(&data)
        .env("RECOIL_LOG", "warn,recoil=debug")
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(folder.path().join("stderr")).unwrap())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines().map(Result::unwrap);
    let (started, hosting) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let terminated = Command::new("kill").arg(node.id().to_string()).status().unwrap();
    let ended = node.wait().unwrap();
    let stderr = std::fs::read_to_string(folder.path().join("stderr")).unwrap();
    assert!(terminated.success() && ended.success(), "{ended}: {stderr}");
    assert!(started.starts_with("Recoil node ") && started.contains(" is at 127.0.0.1:"), "{started}: {stderr}");
    assert!(hosting.ends_with(" bootstrapped cluster hosting 2 partitions"), "{hosting}: {stderr}");
    assert_eq!(lines.next(), None);
    let mut messages = Vec::new();
    for line in stderr.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let time = event["timestamp"].as_str().unwrap();
        assert!(time.len() >= 20 && time.starts_with("20") && time.ends_with('Z'), "{line}");
        assert!(event["level"].is_string() && event["target"].is_string(), "{line}");
        messages.push(event["message"].as_str().unwrap().to_owned());
    }
    assert!(messages.iter().any(|message| message == "the node has started"), "{stderr}");

    let wrong =
        Command::new(RECOIL).args(["start", "--data-dir", "x"]).env("RECOIL_LOG", "recoil=loud").output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("recoil_node=debug"), "{wrong:?}");
}

#[test]
fn ports_that_do_not_exist_are_refused_before_anything_starts() {
    let (code, _, stderr) = run(SIMULATOR, &["--number-of-nodes=3", "--base-port=65534"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("65533"), "{stderr}");
}
