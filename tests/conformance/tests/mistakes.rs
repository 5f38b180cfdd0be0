//! What authors are told of their mistakes, in every language: by `recoilctl build`, or by the answer and the app's log where a mistake
//! shows only when the package runs. Each is made in the source that `recoilctl new` gives, which builds and runs without it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use recoil_base::{Clock, Digest};
use recoil_cluster_tests::program;
use recoil_conformance::{Rows, is_available, transaction};
use recoil_engine::{AppLog, AppLogOptions, Engine, EngineOptions, Environment, Limits};

/// What recoilctl says of a listener in `recoil.toml` that the source does not have.
const NO_LISTENER: &str = "the listener 'tcp' with protocol tcp needs the export recoil:plugin/tcp-listener";
/// What it says where nothing before it has noticed that there is no handler.
const NO_HANDLER: &str = "the package, as every other, needs the export recoil:plugin/handler";

/// No author is shown these: they are about tools that none of them has called.
const NEVER_SHOWN: [&str; 9] = [
    "thread 'main'",
    "wasm backtrace",
    "Stack backtrace",
    "unknown import",
    "teavm_",
    "node:internal",
    "file:///",
    "[Help 1]",
    "\x1b[",
];

/// A change to the source, and what its author is told.
struct Mistake {
    /// What is replaced, everywhere, and by what. With none, the source is missing.
    edits: &'static [(&'static str, &'static str)],
    shown: Shown,
    /// All of these; `LINE` is where the first edit is.
    said: &'static [&'static str],
}

#[derive(PartialEq, Eq)]
enum Shown {
    /// By `recoilctl build`, which fails.
    Building,
    /// By the answer to a request, or in the app's log.
    Running,
}

const fn building(edits: &'static [(&'static str, &'static str)], said: &'static [&'static str]) -> Mistake {
    Mistake { edits, shown: Shown::Building, said }
}

const fn running(edits: &'static [(&'static str, &'static str)], said: &'static [&'static str]) -> Mistake {
    Mistake { edits, shown: Shown::Running, said }
}

const fn without_source(said: &'static [&'static str]) -> Mistake {
    building(&[], said)
}

/// A package with a protocol of its own, as it is new.
struct Package {
    folder: PathBuf,
    source: PathBuf,
    /// Of the template.
    text: String,
}

impl Package {
    fn new(folder: &Path, language: &str, source: &str) -> Self {
        recoilctl(folder, &["new", "sample", "--lang", language, "--kind", "tcp"]).unwrap();
        let folder = folder.join("sample");
        let source = folder.join(source);
        let text = std::fs::read_to_string(&source).unwrap();
        Package { folder, source, text }
    }

    fn build(&self) -> Result<(), String> {
        recoilctl(&self.folder, &["build"])
    }

    /// What the author is told, which lacks nothing of what is to be said.
    fn try_mistake(&self, mistake: &Mistake) -> Result<(), String> {
        let mut text = self.text.clone();
        for (from, to) in mistake.edits {
            if !text.contains(from) {
                return Err(format!("{from} is not in the source"));
            }
            text = text.replace(from, to);
        }
        let at = mistake.edits.first().map_or(0, |(_, to)| text.find(to).unwrap_or_default());
        let line = (text[..at].matches('\n').count() + 1).to_string();
        match mistake.edits.is_empty() {
            true => std::fs::remove_file(&self.source),
            false => std::fs::write(&self.source, text),
        }
        .map_err(|error| error.to_string())?;
        let built = self.build();
        let said = match (built, &mistake.shown) {
            (Err(said), Shown::Building) => said,
            (Ok(()), Shown::Building) => return Err("it is built".into()),
            (Err(said), Shown::Running) => return Err(format!("it is not built: {said}")),
            (Ok(()), Shown::Running) => match self.run() {
                (Err(said), log) => format!("{said}\n{log}"),
                (Ok(answer), _) => return Err(format!("it answers {answer}")),
            },
        };
        let missing = mistake.said.iter().map(|words| words.replace("LINE", &line)).find(|words| !said.contains(words));
        let shown = NEVER_SHOWN.into_iter().find(|words| said.contains(words));
        match (missing, shown) {
            (Some(words), _) => Err(format!("'{words}' is not in: {said}")),
            (None, Some(words)) => Err(format!("'{words}' is in: {said}")),
            (None, None) => Ok(()),
        }
    }

    /// The answer to one request of an instance, and the log.
    fn run(&self) -> (Result<String, String>, String) {
        let archive = std::fs::read(self.folder.join("sample.wasm")).unwrap();
        let manifest = recoil_package::read(&archive).unwrap();
        let engine = Engine::new(EngineOptions::default()).unwrap();
        let code = engine.load(Digest::of(&archive), &archive, &manifest.permissions).unwrap();
        let log = AppLog::new(Clock::system(), AppLogOptions::default());
        let (app, limits, settings) = ("sample".into(), Limits::default(), Default::default());
        let environment = Environment { app, log: log.clone(), limits, settings };
        let (_, answer) =
            code.new_handler(environment).unwrap().handle(transaction(&Arc::new(Rows::default())), b"pear");
        let lines: Vec<String> = log.since(0, 1000).0.into_iter().map(|line| line.message.to_string()).collect();
        let answer = answer.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (answer.map_err(|error| error.to_string()), lines.join("\n"))
    }
}

/// Runs recoilctl; the first build installs tools. The error is all that it prints when it ends as its users' mistakes end it.
fn recoilctl(folder: &Path, words: &[&str]) -> Result<(), String> {
    let mut command = Command::new("timeout");
    command.arg("900").arg(program("recoilctl")).args(words).current_dir(folder).stdin(Stdio::null());
    let output = command.output().expect("recoilctl runs");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{words:?}: {}: {said}", output.status);
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// Tries mistakes in one package after another state of its source, the one without any first.
fn try_all(language: &str, sdk: &str, source: &str, mistakes: &[Mistake]) {
    if !is_available(sdk) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let package = Package::new(folder.path(), language, source);
    assert_eq!(package.build(), Ok(()));
    assert_eq!(package.run().0, Ok("1".to_owned()));
    let tried = mistakes.iter().map(|mistake| (mistake, package.try_mistake(mistake)));
    let failures: Vec<String> =
        tried.filter_map(|(mistake, tried)| Some(format!("{:?}: {}", mistake.edits, tried.err()?))).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn mistakes_in_c_are_said_in_its_words() {
    const INCLUDE: &str = "#include <recoil.h>";
    try_all(
        "c",
        "c",
        "src/package.c",
        &[
            building(&[("seen += 1;", "seen += 1")], &["src/package.c:LINE:", "error: expected ';' after expression"]),
            building(&[("seen += 1;", "seen += word;")], &["src/package.c:LINE:", "invalid operands"]),
            building(
                &[("RECOIL_EXPORT_LISTENER(serve);", "void *kept = serve;")],
                &[NO_LISTENER, "recoil.toml; in C, write RECOIL_EXPORT_LISTENER(function);"],
            ),
            building(
                &[("RECOIL_EXPORT_HANDLER(count);", "void *kept = count;")],
                &[NO_HANDLER, "recoil.toml; in C, write RECOIL_EXPORT_HANDLER(function);"],
            ),
            building(
                &[
                    ("RECOIL_EXPORT_HANDLER(count);", "void *kept = count;"),
                    ("RECOIL_EXPORT_LISTENER(serve);", "void *also_kept = serve;"),
                ],
                &["the module has no role", "declare its roles as the SDK's README has it"],
            ),
            building(
                &[(INCLUDE, "#include <pthread.h>\n#include <recoil.h>")],
                &["In file included from src/package.c:LINE", "error: threads are not supported: an instance answers"],
            ),
            building(
                &[(INCLUDE, "#include <threads.h>\n#include <recoil.h>")],
                &["In file included from src/package.c:LINE", "error: threads are not supported: an instance answers"],
            ),
            building(
                &[(INCLUDE, "#include <setjmp.h>\n#include <recoil.h>")],
                &["In file included from src/package.c:LINE", "error: setjmp is not supported"],
            ),
            building(
                &[
                    ("seen += 1;", "seen += 1; if (socket(AF_INET, SOCK_STREAM, 0) < 0) return recoil_fail(\"no\");"),
                    (INCLUDE, "#include <sys/socket.h>\n#include <recoil.h>"),
                ],
                &["src/package.c:LINE:", "'socket' is unavailable: sockets are not supported: a listener is given"],
            ),
            building(
                &[
                    ("seen += 1;", "seen += 1; if (system(\"ls\")) return recoil_fail(\"no\");"),
                    (INCLUDE, "#include <stdlib.h>\n#include <recoil.h>"),
                ],
                &["src/package.c:LINE:", "'system' is unavailable: processes are not supported"],
            ),
            running(
                &[
                    ("seen += 1;", "if (!fopen(\"/etc/hosts\", \"r\")) return recoil_fail(\"%s\", strerror(errno));"),
                    (INCLUDE, "#include <recoil.h>\n#include <errno.h>\n#include <stdio.h>\n#include <string.h>"),
                ],
                &["Capabilities insufficient"],
            ),
            without_source(&["no such file or directory: 'src/package.c'"]),
        ],
    );
}

#[test]
fn mistakes_in_csharp_are_said_in_its_words() {
    const PUT: &str = "transaction.Put(word, value);";
    const ROLES: &str = "IHandler, IListener, IRehearsed";
    const UNREHEARSED: (&str, &str) = (ROLES, "IHandler, IListener");
    const REHEARSAL: &str =
        "=> Serve(new FakeConnection(\"pear\\n\"), new FakeCluster(this, partitions: 1, groups: 1));";
    try_all(
        "csharp",
        "csharp",
        "src/Counter.cs",
        &[
            building(
                &[(PUT, "transaction.Put(word, value)")],
                &["src/Counter.cs(LINE,", "error CS1002: ; expected", "the sources do not compile"],
            ),
            building(&[(PUT, "transaction.Put(word, seen);")], &["src/Counter.cs(LINE,", "error CS1503: Argument 2"]),
            building(&[("Handle(Transaction", "Handel(Transaction")], &["src/Counter.cs(", "error CS0535", "IHandler"]),
            building(
                &[(ROLES, "IHandler, IRehearsed")],
                &[NO_LISTENER, "recoil.toml; in C#, the package's class implements IListener"],
            ),
            building(
                &[(ROLES, "IListener"), (REHEARSAL, "{ }")],
                &["App.Counter: a package has a handler: implement IHandler"],
            ),
            building(
                &[(" : IHandler, IListener, IRehearsed", ""), (REHEARSAL, "{ }")],
                &["a package is one class that implements IHandler", "none does"],
            ),
            building(
                &[(PUT, "new System.Threading.Thread(() => { }).Start();")],
                &["threads are not supported: ", "System.Threading.Thread.Start()", "at App.Counter.Handle("],
            ),
            building(
                &[(REHEARSAL, "=> throw new System.Exception(\"the piano is out of tune\");")],
                &["the piano is out of tune", "at App.Counter.Rehearse()"],
            ),
            building(
                &[(REHEARSAL, "=> System.Environment.FailFast(\"the piano is on fire\");")],
                &["the runtime has ended while the component was made", "the piano is on fire"],
            ),
            running(
                &[(PUT, "new System.Threading.Thread(() => { }).Start();"), UNREHEARSED],
                &["threads are not supported: ", "System.Threading.Thread.Start()", "at App.Counter.Handle("],
            ),
            running(
                &[(PUT, "File.ReadAllText(\"/etc/hosts\");"), UNREHEARSED],
                &["files are not supported: ", "'/etc/hosts'", "at App.Counter.Handle("],
            ),
            running(
                &[
                    (PUT, "new Socket(SocketType.Stream, ProtocolType.Tcp);"),
                    UNREHEARSED,
                    ("using System.Text;", "using System.Text;\nusing System.Net.Sockets;"),
                ],
                &["System.Net.Sockets is not supported on this platform", "at App.Counter.Handle("],
            ),
            without_source(&["there are no C# sources in ", "sample/src"]),
        ],
    );
}

#[test]
fn mistakes_in_go_are_said_in_its_words() {
    try_all(
        "go",
        "go",
        "main.go",
        &[
            building(&[("seen++", "seen+++")], &["./main.go:LINE:", "syntax error: unexpected +"]),
            building(&[("seen++", "seen = word")], &["./main.go:LINE:", "cannot use word"]),
            building(
                &[("recoil.Listener(serve)", "_ = serve")],
                &[NO_LISTENER, "recoil.toml; in Go, main calls recoil.Listener"],
            ),
            building(
                &[("recoil.Handler(count)", "_ = count")],
                &["main registers no handler", "call recoil.Handler in main"],
            ),
            running(
                &[
                    ("seen++", "seen++; if err := exec.Command(\"ls\").Run(); err != nil { return nil, err }"),
                    ("\"bufio\"", "\"bufio\"\n\t\"os/exec\""),
                ],
                &["processes are not supported: exec: \"ls\""],
            ),
            running(
                &[
                    (
                        "seen++",
                        "seen++; if _, err := net.Dial(\"tcp\", \"10.0.0.1:80\"); err != nil { return nil, err }",
                    ),
                    ("\"bufio\"", "\"bufio\"\n\t\"net\""),
                ],
                &["sockets are not supported: dial tcp 10.0.0.1:80"],
            ),
            running(
                &[
                    ("seen++", "seen++; if _, err := os.ReadFile(\"/etc/hosts\"); err != nil { return nil, err }"),
                    ("\"bufio\"", "\"bufio\"\n\t\"os\""),
                ],
                &["files are not supported: open /etc/hosts"],
            ),
            without_source(&["no non-test Go files in "]),
        ],
    );
}

#[test]
fn mistakes_in_java_are_said_in_its_words() {
    const PUT: &str = "transaction.put(word, ";
    const SERVE: (&str, &str) = ("@Override\n    public void serve", "public void serve");
    const HANDLE: (&str, &str) = ("@Override\n    public byte[] handle", "public byte[] handle");
    try_all(
        "java",
        "java",
        "src/main/java/app/Counter.java",
        &[
            building(
                &[("long seen = value", "long seen = = value")],
                &["[ERROR] src/main/java/app/Counter.java:[LINE,", "illegal start of expression"],
            ),
            building(
                &[("long seen = value", "String seen = value")],
                &["[ERROR] src/main/java/app/Counter.java:[LINE,", "long cannot be converted to java.lang.String"],
            ),
            building(
                &[("implements Handler, Listener", "implements Handler"), SERVE],
                &[NO_LISTENER, "recoil.toml; in Java, the package's class implements Listener"],
            ),
            building(
                &[("implements Handler, Listener", "implements Listener"), HANDLE],
                &[NO_HANDLER, "recoil.toml; in Java, the package's class implements Handler"],
            ),
            building(
                &[(PUT, "new Thread(() -> { }).start(); transaction.put(word, ")],
                &[
                    "java.lang.Thread.start: threads are not supported: an instance answers one call at a time",
                    "at app.Counter.handle(Counter.java:LINE)",
                ],
            ),
            building(
                &[(PUT, "new java.util.concurrent.ForkJoinPool(); transaction.put(word, ")],
                &["threads are not supported: an instance answers", "at app.Counter.handle(Counter.java:LINE)"],
            ),
            building(
                &[(
                    PUT,
                    "try { new java.net.Socket(\"localhost\", 80); } catch (IOException e) { } transaction.put(word, ",
                )],
                &[
                    "java.net.Socket was not found: sockets are not supported",
                    "at app.Counter.handle(Counter.java:LINE)",
                ],
            ),
            without_source(&["there is no class 'app.Counter'", "pom.xml's property recoil.package"]),
        ],
    );
}

#[test]
fn mistakes_in_javascript_are_said_in_its_words() {
    const PUT: &str = "transaction.put(";
    try_all(
        "js",
        "js",
        "src/index.js",
        &[
            building(
                &[("const seen = transaction", "const seen = = transaction")],
                &["src/index.js:LINE:", "Unexpected \"=\""],
            ),
            building(
                &[("const LINE_FEED = 0x0a;", "const LINE_FEED = nothing.at(0);")],
                &["loading it throws", "nothing is not defined", "src/index.js:LINE"],
            ),
            building(
                &[("export const listener", "const listener")],
                &[NO_LISTENER, "recoil.toml; in JavaScript, the package's first module has `export const listener`"],
            ),
            building(
                &[("export const listener", "export const serve")],
                &["src/index.js exports `serve`, which is no role: name it `listener`"],
            ),
            building(
                &[("export const handler", "const handler")],
                &[
                    "exports no `handler`",
                    "exported: listener",
                    "export const handler = { handle(transaction, request)",
                ],
            ),
            building(
                &[("import { RoutedCall }", "import \"node:fs\"; import { RoutedCall }")],
                &["node:fs is a module of Node.js: a package runs without it", "src/index.js:LINE:"],
            ),
            running(
                &[(PUT, "fetch(\"http://localhost\"); transaction.put(")],
                &["fetch is not defined", "at handle (src/index.js:LINE)", "sockets are not supported"],
            ),
            running(
                &[(PUT, "setTimeout(() => {}, 1); transaction.put(")],
                &["setTimeout is not defined", "at handle (src/index.js:LINE)", "timers are not supported"],
            ),
            running(
                &[(PUT, "new Worker(\"worker.js\"); transaction.put(")],
                &["Worker is not defined", "at handle (src/index.js:LINE)", "threads are not supported"],
            ),
            running(
                &[(PUT, "process.exit(1); transaction.put(")],
                &["process is not defined", "at handle (src/index.js:LINE)", "what Node.js has is not supported"],
            ),
            running(
                &[("  handle(transaction", "  async handle(transaction")],
                &["handler.handle answered a promise: it must not be async"],
            ),
            without_source(&["src/index.js does not exist: recoil.toml's build.command names it"]),
        ],
    );
}

#[test]
fn mistakes_in_typescript_are_said_in_its_words() {
    const PUT: &str = "transaction.put(";
    const SAID: &str = "the types do not fit: the compiler's messages above say where";
    try_all(
        "ts",
        "js",
        "src/index.ts",
        &[
            building(
                &[("const seen = transaction", "const seen = = transaction")],
                &["src/index.ts:LINE:", "Unexpected \"=\""],
            ),
            building(
                &[("const seen = transaction", "const seen: number = transaction")],
                &["src/index.ts(LINE,", "TS2322", SAID],
            ),
            building(
                &[("export const listener", "const listener")],
                &[NO_LISTENER, "recoil.toml; in JavaScript, the package's first module has `export const listener`"],
            ),
            building(
                &[("export const handler", "const handler")],
                &[
                    "exports no `handler`",
                    "exported: listener",
                    "export const handler = { handle(transaction, request)",
                ],
            ),
            building(
                &[("import { type Connection", "import \"node:fs\"; import { type Connection")],
                &["node:fs is a module of Node.js: a package runs without it", "src/index.ts:LINE:"],
            ),
            building(
                &[(PUT, "fetch(\"http://localhost\"); transaction.put(")],
                &["src/index.ts(LINE,", "Cannot find name 'fetch'", SAID],
            ),
            building(
                &[(PUT, "setTimeout(() => {}, 1); transaction.put(")],
                &["src/index.ts(LINE,", "Cannot find name 'setTimeout'", SAID],
            ),
            building(
                &[(PUT, "new Worker(\"worker.js\"); transaction.put(")],
                &["src/index.ts(LINE,", "Cannot find name 'Worker'", SAID],
            ),
            building(
                &[("  handle(transaction", "  async handle(transaction")],
                &["src/index.ts(LINE,", "Promise<string>", SAID],
            ),
            without_source(&["src/index.ts does not exist: recoil.toml's build.command names it"]),
        ],
    );
}

#[test]
fn mistakes_in_python_are_said_in_its_words() {
    const PUT: &str = "transaction.put(";
    const IMPORT: &str = "import recoil\n";
    try_all(
        "python",
        "python",
        "app.py",
        &[
            building(
                &[("count = b", "count = = b")],
                &["app.py\", line LINE", "SyntaxError: invalid syntax", "app cannot be imported"],
            ),
            building(
                &[("LINE_BYTES_MAX = 64", "LINE_BYTES_MAX = nothing")],
                &["app.py\", line LINE", "NameError: name 'nothing' is not defined", "app cannot be imported"],
            ),
            building(
                &[("class Lines(recoil.Listener)", "class Lines")],
                &[NO_LISTENER, "recoil.toml; in Python, a class extends recoil.Listener"],
            ),
            building(
                &[("class Counts(recoil.Handler)", "class Counts")],
                &["app.py has no handler", "extends recoil.Handler, with a method handle(self, transaction, request)"],
            ),
            building(
                &[(IMPORT, "import numpy\nimport recoil\n")],
                &["app.py\", line LINE", "No module named 'numpy'", "pip install --target vendor numpy"],
            ),
            running(
                &[
                    (PUT, "threading.Thread(target=print).start(); transaction.put("),
                    (IMPORT, "import threading\nimport recoil\n"),
                ],
                &[
                    "can't start new thread",
                    "app.py\", line LINE, in handle",
                    "Threads are not supported: an instance answers",
                ],
            ),
            running(
                &[
                    (PUT, "socket.create_connection((\"localhost\", 80)); transaction.put("),
                    (IMPORT, "import socket\nimport recoil\n"),
                ],
                &["app.py\", line LINE, in handle", "Sockets are not supported: a Listener"],
            ),
            running(
                &[(PUT, "open(\"/etc/hosts\"); transaction.put(")],
                &["FileNotFoundError", "app.py\", line LINE, in handle", "Files are not supported"],
            ),
            running(
                &[(PUT, "import colorsys; transaction.put(")],
                &["No module named 'colorsys'", "app.py\", line LINE, in handle", "import this at the top of a module"],
            ),
            without_source(&["there is no module app in ", "build.sh --module NAME"]),
        ],
    );
}

#[test]
fn mistakes_in_rust_are_said_in_its_words() {
    try_all(
        "rust",
        "rust",
        "src/lib.rs",
        &[
            building(
                &[("let seen = match", "let seen = = match")],
                &["src/lib.rs:LINE:", "expected expression, found `=`"],
            ),
            building(
                &[("&(seen + 1).to_be_bytes()", "&(seen + 1)")],
                &["src/lib.rs:LINE:", "error[E0308]: mismatched types"],
            ),
            building(
                &[("handler, tcp_listener", "handler")],
                &[NO_LISTENER, "recoil.toml; in Rust, implement Listener and name tcp_listener in recoil_sdk::export!"],
            ),
            building(
                &[("handler, tcp_listener", "tcp_listener")],
                &[NO_HANDLER, "recoil.toml; in Rust, implement Handler and name handler in recoil_sdk::export!"],
            ),
            building(
                &[("impl Listener for Package", "impl Package")],
                &["the trait bound `Package: Listener` is not satisfied", "src/lib.rs:"],
            ),
            running(
                &[("let seen = match", "std::thread::spawn(|| {}); let seen = match")],
                &["failed to spawn thread", "Not supported", "a panic or an abort"],
            ),
            running(
                &[("let seen = match", "std::fs::read(\"/etc/hosts\").map_err(|e| e.to_string())?; let seen = match")],
                &["No such file or directory"],
            ),
            without_source(&["src/lib.rs"]),
        ],
    );
}
