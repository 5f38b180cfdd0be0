//! From nothing to a served package, as an author types it.

// Whole programs are tested against the clock on the wall.
#![allow(clippy::disallowed_methods)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use recoil_cluster_tests::{Cluster, Ports, Program, Ran, eventually, program, run};

/// Runs recoilctl in a folder; compiling a package may take it minutes on a busy machine, and no longer.
fn author(folder: &Path, words: &[&str]) -> Ran {
    let mut command = Command::new("timeout");
    command.arg("600").arg(program("recoilctl")).args(words).current_dir(folder).env_remove("RECOIL_SERVER");
    // Whatever the machine's user has set up is none of the test's business.
    for (variable, file) in [("RECOIL_REGISTRIES", "registries.toml"), ("DOCKER_CONFIG", "docker")] {
        command.env(variable, folder.join(file));
    }
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
    let ctl = |k: usize, words: &[&str]| author(&greeter, &[&["--server", &cluster.admin(k)], words].concat());
    let pushed = ctl(2, &["push"]).ok();
    assert!(pushed.contains("acme/greeter@1.0.0 is pushed") && pushed.contains("recoilctl install"), "{pushed}");
    assert!(ctl(1, &["push"]).ok().contains("was there already"));
    let install = ["install", "acme/greeter@1.0.0", "--name", "hello", "--listen", &listen, "--lock", "recoil.lock"];
    let unasked = ctl(0, &install).failed(1);
    assert!(unasked.contains("--yes"), "{unasked}");
    let install = [&install[..], &["--yes"]].concat();
    let wrong = ctl(0, &[&install[..], &["--set", "colour=red"]].concat()).failed(1);
    assert!(wrong.contains("no setting named colour") && wrong.contains("greeting (text)"), "{wrong}");
    let ungranted = ctl(0, &[&install[..], &["--grant", "router,timers"]].concat()).failed(1);
    assert!(
        ungranted.contains("not granted: storage (keep data of its own") && !ungranted.contains("router ("),
        "{ungranted}"
    );
    assert!(ctl(0, &[&install[..], &["--grant", "network"]].concat()).failed(2).contains("no permission 'network'"));
    let installed = ctl(0, &[&install[..], &["--set", "greeting=good day"]].concat()).ok();
    assert!(installed.contains("hello 1.0.0 is serving on 3 of 3 nodes"), "{installed}");
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
    assert!(
        shown.lines().any(|line| line.starts_with("permissions ") && line.ends_with(" storage, router")),
        "{shown}"
    );
    assert!(shown.contains("The word that greets.") && shown.contains("hi     text  hello"), "{shown}");
    assert!(cluster.ctl(2, &["set", "nobody", "a=b"]).failed(1).contains("no app named nobody"));

    permissions(&cluster, &greeter);
    other_registries(&cluster, &greeter);
    kept_data(&cluster, port);
    development(&cluster, &greeter);

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

/// What the manifest does not ask for refuses when it is called, and the app's log names the permission.
fn permissions(cluster: &Cluster, greeter: &Path) {
    let manifest = std::fs::read_to_string(greeter.join("recoil.toml")).unwrap();
    let changed = manifest.replace(r#"["storage", "router"]"#, r#"["router"]"#);
    assert_ne!(manifest, changed);
    std::fs::write(greeter.join("recoil.toml"), changed).unwrap();
    let built = author(greeter, &["build"]).ok();
    assert!(built.contains("imports storage, and recoil.toml does not ask for the permission"), "{built}");
    let port = Ports::free(3).redis(0);
    let listen = format!("http={}", port - cluster.ports().offset);
    let file = greeter.join("greeter.wasm").display().to_string();
    cluster.ctl(1, &["install", &file, "--name", "humble", "--listen", &listen, "--grant", "router", "--yes"]).ok();
    let status = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", &format!("http://127.0.0.1:{port}/hello/world")];
    assert_eq!(run("curl", &status).ok(), "500");
    // The log is that of the node whose partition it was.
    eventually("the log names the permission", || {
        let logs: Vec<String> = (0..3).map(|k| cluster.ctl(k, &["logs", "humble"]).ok()).collect();
        match logs.iter().any(|log| log.contains("storage.get needs the permission 'storage'")) {
            true => Ok(()),
            false => Err(format!("{logs:?}")),
        }
    });
    cluster.ctl(1, &["uninstall", "humble", "--yes"]).ok();
    std::fs::write(greeter.join("recoil.toml"), manifest).unwrap();
    author(greeter, &["build"]).ok();
}

/// An app that is uninstalled and comes back.
fn kept_data(cluster: &Cluster, port: u16) {
    let say = || run("curl", &["-sS", &format!("http://127.0.0.1:{port}/hello/world")]).ok();
    let before = say();
    let kept = cluster.ctl(0, &["uninstall", "hello", "--keep-data"]).ok();
    assert!(kept.contains("its data kept"), "{kept}");
    assert!(cluster.ctl(1, &["list"]).ok().contains("data kept"));
    let listen = format!("http={}", port - cluster.ports().offset);
    let other = ["install", "bank", "--name", "hello", "--listen", "api=7130", "--yes"];
    let other = cluster.ctl(2, &other).failed(1);
    assert!(other.contains("another package (greeter)"), "{other}");
    cluster.ctl(2, &["install", "acme/greeter", "--name", "hello", "--listen", &listen, "--yes"]).ok();
    let number = |said: &str| said.trim().rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    let after = say();
    assert!(after.starts_with("hi world") && number(&after) == number(&before) + 1, "{before} {after}");
    cluster.ctl(0, &["uninstall", "hello", "--yes"]).ok();
    cluster.ctl(0, &["install", "acme/greeter", "--name", "hello", "--listen", &listen, "--yes"]).ok();
    assert!(say().ends_with("number 1\n"), "{}", say());
}

/// A change of the source is built and installed, whatever its time says, and finds the data and settings of what was there before.
fn development(cluster: &Cluster, greeter: &Path) {
    let port = Ports::free(3).redis(0);
    let listen = format!("http={}", port - cluster.ports().offset);
    let path = greeter.display().to_string();
    let words = ["--server", &cluster.admin(1), "dev", "--path", &path, "--name", "changing", "--listen", &listen];
    let words = [&words[..], &["--set", "greeting=good day"]].concat();
    let mut dev = Program::start(
        &program("recoilctl"),
        &words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>(),
        &cluster.path("dev"),
    );
    dev.wait_for_line("it serves", |line| line.starts_with("changing 1.0.0 is serving"));
    let say = || run("curl", &["-sS", &format!("http://127.0.0.1:{port}/hello/world")]).stdout;
    assert_eq!(say(), "good day world, greeting number 1\n");
    cluster.ctl(2, &["set", "changing", "greeting=ahoy"]).ok();
    // Newer than all that is edited from now on.
    let future = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    std::fs::File::options().write(true).open(greeter.join("README.md")).unwrap().set_modified(future).unwrap();
    let code = std::fs::read_to_string(greeter.join("src/lib.rs")).unwrap();
    std::fs::write(greeter.join("src/lib.rs"), "this is no Rust").unwrap();
    eventually("the build fails", || match dev.stderr() {
        said if said.contains("what is printed above says why") => Ok(()),
        said => Err(said),
    });
    assert!(say().contains("greeting number"), "what was there serves on");
    std::fs::write(greeter.join("src/lib.rs"), code.replace("greeting number", "visit number")).unwrap();
    eventually("the change serves", || match say() {
        said if said.starts_with("ahoy world, visit number") && !said.ends_with("number 1\n") => Ok(()),
        said => Err(format!("{said} {}", dev.stderr())),
    });
    assert!(dev.stderr().contains("Changed: src/lib.rs"), "{}", dev.stderr());
    assert!(dev.terminate().success());
    // Another run installs what it is told to, although the package is the same.
    let words = [&words[..words.len() - 1], &["greeting=hello"]].concat();
    let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
    let mut dev = Program::start(&program("recoilctl"), &words, &cluster.path("dev-again"));
    dev.wait_for_line("it serves", |line| line.starts_with("changing 1.0.0 is serving"));
    assert!(say().starts_with("hello world, visit number"), "{}", say());
    assert!(dev.terminate().success());
}

/// The same package through Docker's registry, and what happens when a version changes its meaning.
fn other_registries(cluster: &Cluster, greeter: &Path) {
    let ctl = |k: usize, words: &[&str]| author(greeter, &[&["--server", &cluster.admin(k)], words].concat());
    let port = Ports::free(1).admin;
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
        cluster.path("docker-registry").display()
    );
    std::fs::write(greeter.join("registry.yml"), config).unwrap();
    let arguments = ["serve".to_owned(), greeter.join("registry.yml").display().to_string()];
    let mut docker = Program::start(Path::new("docker-registry"), &arguments, &cluster.path("docker-registry-log"));
    eventually("docker-registry listens", || {
        TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())
    });
    let outside = format!("oci://127.0.0.1:{port}/teams/x/acme/welcome:1.0.0");
    let pushed = ctl(0, &["push", &outside]).ok();
    assert!(pushed.contains("teams/x/acme/welcome@1.0.0 is pushed"), "{pushed}");

    // Found by its name once the operator has said where to look.
    let absent = ctl(1, &["install", "acme/welcome", "--yes"]).failed(1);
    assert!(absent.contains("no package acme/welcome"), "{absent}");
    let sources =
        format!("[[registry]]\naddress = \"127.0.0.1:{port}\"\nprefix = \"teams/x\"\nnamespaces = [\"acme\"]\n");
    std::fs::write(greeter.join("registries.toml"), sources).unwrap();
    let listed = ctl(1, &["registry", "list"]).ok();
    assert!(listed.contains(&format!("127.0.0.1:{port}")) && listed.contains("teams/x"), "{listed}");
    for (k, name) in [outside.as_str(), "acme/welcome"].into_iter().enumerate() {
        let (app, listen) = (format!("welcome-{k}"), format!("http={}", 7100 + 10 * k));
        let installed = ctl(k, &["install", name, "--name", &app, "--listen", &listen, "--yes"]).ok();
        assert!(installed.contains(&format!("{app} 1.0.0 is serving")), "{installed}");
    }
    let nowhere = ctl(1, &["install", "acme/nothing", "--yes"]).failed(1);
    assert!(nowhere.contains("nor at") && nowhere.contains("teams/x/acme/nothing"), "{nowhere}");
    docker.kill();
    let down = ctl(1, &["install", "acme/nothing", "--yes"]).failed(1);
    assert!(down.contains("cannot reach"), "{down}");

    // A version that was pushed keeps its meaning, unless its publisher insists; then the lock says so.
    let manifest = std::fs::read_to_string(greeter.join("recoil.toml")).unwrap();
    std::fs::write(greeter.join("recoil.toml"), manifest.replace("Greets whoever", "Welcomes whoever")).unwrap();
    let stale = ctl(0, &["push"]).failed(1);
    assert!(stale.contains("recoilctl build"), "{stale}");
    author(greeter, &["build"]).ok();
    let changed = ctl(0, &["push"]).failed(1);
    assert!(changed.contains("already, with other contents"), "{changed}");
    ctl(0, &["push", "--replace"]).ok();
    let locked =
        ["install", "acme/greeter@1.0.0", "--name", "again", "--listen", "http=7120", "--yes", "--lock", "recoil.lock"];
    let refused = ctl(0, &locked).failed(1);
    assert!(refused.contains("acme/greeter@1.0.0") && refused.contains("sha256:"), "{refused}");
    ctl(0, &locked[..7]).ok();
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
    assert!(absent.contains("greeter_package.wasm") && absent.contains("build.component"), "{absent}");
    assert!(build_with("[build]", "[builds]").contains("builds"));
    assert!(build_with("port = 7000", "port = 70000").contains("port"));
}
