//! From nothing to a served package, as an author types it.

// Whole programs are tested against the clock on the wall.
#![allow(clippy::disallowed_methods)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use recoil_cluster_tests::{Cluster, Ports, Ran, eventually, program, run};

/// Runs recoilctl in a folder; compiling a package may take it minutes on a busy machine, and no longer.
fn author(folder: &Path, words: &[&str]) -> Ran {
    let mut command = Command::new("timeout");
    command.arg("600").arg(program("recoilctl")).args(words).current_dir(folder).env_remove("RECOIL_SERVER");
    let output = command.output().expect("recoilctl runs");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn a_new_package_is_tested_built_installed_and_served() {
    let mut cluster = Cluster::simulator();
    let folder = cluster.path("author");
    std::fs::create_dir(&folder).unwrap();

    let printed = author(&folder, &["new", "greeter", "--lang", "rust"]).ok();
    assert!(printed.contains("recoilctl build"), "{printed}");
    let greeter = folder.join("greeter");
    let tested = author(&greeter, &["test"]);
    assert!(tested.stderr.contains("each_name_has_a_count_of_its_own ... ok"), "{}", tested.stderr);
    tested.ok();
    let built = author(&greeter, &["build"]).ok();
    for expected in
        ["greeter.wasm", "sha256:", "exports  recoil:plugin/http-handler@0.1.0", "imports  recoil:plugin/router@0.1.0"]
    {
        assert!(built.contains(expected), "{expected}: {built}");
    }
    let port = Ports::free(3).redis(0);
    let listen = format!("http={}", port - cluster.ports().offset);
    let file = greeter.join("greeter.wasm");
    let install = ["install", "--yes", file.to_str().unwrap(), "--name", "hello", "--listen", &listen];
    let wrong = cluster.ctl(0, &[&install[..], &["--set", "colour=red"]].concat()).failed(1);
    assert!(wrong.contains("no setting named colour") && wrong.contains("greeting (text)"), "{wrong}");
    cluster.ctl(0, &[&install[..], &["--set", "greeting=good day"]].concat()).ok();
    let say = |k: u16| run("curl", &["-sS", &format!("http://127.0.0.1:{}/hello/world", port + k)]).ok();
    for k in 0..3 {
        assert_eq!(say(k).trim(), format!("good day world, greeting number {}", k + 1));
    }
    // A change reaches every node, while the app runs.
    let set = cluster.ctl(1, &["set", "hello", "greeting=hi"]).ok();
    assert!(set.contains("greeting  hi"), "{set}");
    for k in 0..3 {
        eventually("the new greeting", || match say(k) {
            said if said.starts_with("hi world, ") => Ok(()),
            said => Err(said),
        });
    }
    let shown = cluster.ctl(2, &["inspect", "hello"]).ok();
    assert!(shown.contains("The word that greets.") && shown.contains("hi     text  hello"), "{shown}");
    assert!(cluster.ctl(2, &["set", "nobody", "a=b"]).failed(1).contains("no app named nobody"));

    // The other kind, with a manifest that promises what the component does not export.
    author(&folder, &["new", "word-count", "--kind", "tcp"]).ok();
    let words = folder.join("word-count");
    let manifest = std::fs::read_to_string(words.join("recoil.toml")).unwrap();
    std::fs::write(words.join("recoil.toml"), manifest.replace(r#""tcp""#, r#""http""#)).unwrap();
    let refused = author(&words, &["build"]).failed(1);
    assert!(refused.contains("recoil:plugin/http-handler") && refused.contains("recoil.toml"), "{refused}");
    std::fs::write(words.join("recoil.toml"), manifest).unwrap();
    author(&words, &["build"]).ok();
    let port = Ports::free(3).redis(0);
    let listen = format!("tcp={}", port - cluster.ports().offset);
    cluster.ctl(1, &["install", "--yes", words.join("word-count.wasm").to_str().unwrap(), "--listen", &listen]).ok();
    for k in 0..3 {
        let mut connection = TcpStream::connect(("127.0.0.1", port + k)).unwrap();
        connection.write_all(b"pear\n").unwrap();
        let mut answer = String::new();
        BufReader::new(connection).read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), (k + 1).to_string());
    }
    cluster.stop();
}

#[test]
fn authors_are_told_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let wrong_name = author(folder, &["new", "My Greeter"]).failed(1);
    assert!(wrong_name.contains("`name` is 'My Greeter'") && wrong_name.contains("lower-case"), "{wrong_name}");
    assert!(std::fs::read_dir(folder).unwrap().next().is_none(), "nothing is left of it");
    author(folder, &["new", "greeter", "--lang", "cobol"]).failed(2);
    let nowhere = author(folder, &["build"]).failed(1);
    assert!(nowhere.contains("recoil.toml") && nowhere.contains("recoilctl new"), "{nowhere}");

    author(folder, &["new", "greeter"]).ok();
    assert!(author(folder, &["new", "greeter"]).failed(1).contains("exists already"));
    let manifest = folder.join("greeter/recoil.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let build_with = |from: &str, to: &str| {
        std::fs::write(&manifest, text.replace(from, to)).unwrap();
        author(folder, &["build", "--path", "greeter"]).failed(1)
    };
    let failed = build_with("command = \"cargo build", "command = \"echo this step went wrong && exit 7 #");
    assert!(failed.contains("this step went wrong") && failed.contains("exit status: 7"), "{failed}");
    let absent = build_with("command = \"cargo build", "command = \"true #");
    assert!(absent.contains("greeter.wasm") && absent.contains("build.component"), "{absent}");
    assert!(build_with("[build]", "[builds]").contains("builds"));
    assert!(build_with("port = 7000", "port = 70000").contains("port"));
}
