//! The programs as a shell sees them, without a cluster: usage, help, exit codes.

use std::process::{Command, Output};

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
        (RECOIL, &["start", "--data-dir", "x", "--listen", "nowhere"]),
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

#[test]
fn ports_that_do_not_exist_are_refused_before_anything_starts() {
    let (code, _, stderr) = run(SIMULATOR, &["--number-of-nodes=3", "--base-port=65534"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("65533"), "{stderr}");
}
