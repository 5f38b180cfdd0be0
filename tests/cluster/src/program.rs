//! A child process: its output in files, its end by its own id.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::{Namespace, PATIENCE, eventually};

/// A program that goes on until it is ended. Killed when dropped.
pub struct Program {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Program {
    /// Start `program`; what it prints goes to `<log>.out` and `<log>.err`, in files so that no full pipe can stop it.
    pub fn start(program: &Path, arguments: &[String], log: &Path) -> Self {
        Program::start_in(None, program, arguments, log)
    }

    /// The same, in a network namespace.
    pub fn start_in(namespace: Option<&Namespace>, program: &Path, arguments: &[String], log: &Path) -> Self {
        let (stdout, stderr) = (log.with_extension("out"), log.with_extension("err"));
        let file = |path: &Path| File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(file(&stdout)).stderr(file(&stderr));
        if let Some(namespace) = namespace {
            namespace.of(&mut command);
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Program { child, stdout, stderr }
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed.
    pub fn stdout(&self) -> String {
        std::fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// What it has complained about.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Wait until it has printed a line for which `wanted` holds. Panics when it ends before.
    pub fn wait_for_line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        eventually(what, || {
            // Looked at before its output, so that a last line is not missed.
            let ended = self.child.try_wait().expect("the child's state");
            let (stdout, stderr) = (self.stdout(), self.stderr());
            if let Some(line) = stdout.lines().find(|line| wanted(line)) {
                return Ok(line.to_owned());
            }
            assert!(ended.is_none(), "{what}: the program ended ({ended:?}):\n{stdout}{stderr}");
            Err(format!("it printed:\n{stdout}{stderr}"))
        })
    }

    /// As `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ask it to stop, as SIGTERM does, and wait for its end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.wait()
    }

    /// Stop its time, as `kill -STOP` does.
    pub fn pause(&mut self) {
        self.signal(libc::SIGSTOP);
    }

    /// Let it go on.
    pub fn resume(&mut self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&mut self, signal: libc::c_int) {
        let id = libc::pid_t::try_from(self.child.id()).expect("a process id");
        // SAFETY: kill(2) takes two integers. The child has not been waited for, so its id is still its own.
        unsafe { libc::kill(id, signal) };
    }

    /// Wait until it has complained in a line for which `wanted` holds.
    pub fn wait_for_complaint(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        eventually(what, || {
            let stderr = self.stderr();
            stderr.lines().find(|line| wanted(line)).map(str::to_owned).ok_or(stderr)
        })
    }

    /// Panics if it has ended by itself, or if one of its threads has panicked.
    pub fn check_sound(&mut self) {
        let ended = self.child.try_wait().expect("the child's state");
        let stderr = self.stderr();
        assert!(ended.is_none(), "process {} ended by itself ({ended:?})", self.child.id());
        assert!(!stderr.contains("panicked at"), "a thread of process {} panicked", self.child.id());
    }

    /// Wait for its end.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the program's end", || {
            self.child.try_wait().expect("the child's state").ok_or_else(|| self.stderr())
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- process {} printed:\n{}{}---", self.child.id(), self.stdout(), self.stderr());
        }
    }
}

/// How a program that ends by itself ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Ran {
    /// What it printed, if it succeeded; panics otherwise.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Its complaint, if it failed with `code`; panics otherwise.
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        assert!(!self.stderr.trim().is_empty(), "it failed without a word");
        self.stderr
    }
}

/// Run a program to its end, at most [`PATIENCE`] long.
pub fn run(program: impl AsRef<OsStr>, arguments: &[&str]) -> Ran {
    run_in(None, program, arguments)
}

/// The same, in a network namespace.
pub fn run_in(namespace: Option<&Namespace>, program: impl AsRef<OsStr>, arguments: &[&str]) -> Ran {
    run_until(namespace, PATIENCE, program, arguments)
}

/// Run a program to its end, for what takes longer than others.
pub fn run_within(limit: Duration, program: impl AsRef<OsStr>, arguments: &[&str]) -> Ran {
    run_until(None, limit, program, arguments)
}

fn run_until(namespace: Option<&Namespace>, limit: Duration, program: impl AsRef<OsStr>, arguments: &[&str]) -> Ran {
    let program = program.as_ref();
    let mut command = Command::new(program);
    if let Some(namespace) = namespace {
        namespace.of(&mut command);
    }
    command
        .args(arguments)
        .env_remove("RECOIL_SERVER")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{} cannot be run ({error}): `cargo verify` installs it", program.display()));
    let (mut stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let read_stdout = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stdout.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let read_stderr = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let end = Instant::now() + limit;
    let status = loop {
        match child.try_wait().expect("the child's state") {
            Some(status) => break status,
            None if Instant::now() > end => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{} {arguments:?} did not end within {} s", program.display(), limit.as_secs());
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    Ran {
        code: status.code(),
        stdout: read_stdout.join().expect("reading"),
        stderr: read_stderr.join().expect("reading"),
    }
}
