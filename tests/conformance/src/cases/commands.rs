//! Commands for operators, by the admin API of every node.
//!
//! They are asked for as bytes of HTTP and not by recoilctl, which takes some words for itself and changes what it prints.

use serde_json::{Value, json};

use super::{Outcome, Written};
use crate::app::App;
use crate::client::Client;
use crate::ensure;

pub(super) const CASES: &[Written] = &[
    ("commands are listed", listed),
    ("commands are given their words as they are", as_they_are),
    ("commands reach what clients reach", reach),
    ("commands refuse in their own words", refuse),
    ("commands that throw", throw),
    ("many commands in a row", many),
];

/// As `PROTOCOL.md` has them.
const COMMANDS: [(&[&str], &str, &str); 5] = [
    (&["key", "put"], "KEY VALUE", "Put a value at a key."),
    (&["key", "get"], "KEY", "Print the value of a key."),
    (&["echo"], "WORDS…", "Print the words, each in brackets: [größe]."),
    (&["fail"], "TEXT", "Refuse, for this reason."),
    (&["throw"], "TEXT", "Throw an exception."),
];

/// Of a long word and of many short ones, with which a request stays below the 64 KiB that the admin API takes.
const LONG_BYTES: usize = 48 << 10;
const WORDS: usize = 5_000;
const IN_A_ROW: usize = 50;

/// What a command came to: what it prints, or the status of the refusal and its message.
type Came = Result<String, (u16, String)>;

/// Runs a command on node k.
fn run(app: &App<'_>, k: usize, typed: &[&str]) -> Result<Came, String> {
    let body = json!({ "arguments": typed }).to_string();
    let (status, answer) = ask(app, k, "POST", body.as_bytes())?;
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| format!("{status} {answer}"));
    Ok(match status {
        200 => Ok(text(&answer["output"])?),
        _ => Err((status, text(&answer["error"]["message"])?)),
    })
}

fn ask(app: &App<'_>, k: usize, method: &str, body: &[u8]) -> Result<(u16, Value), String> {
    let target = format!("/v1/apps/{}/commands", app.name());
    let response = app.admin(k)?.request(method, &target, &[("content-type", "application/json")], body)?;
    let answer = serde_json::from_slice(&response.body);
    let answer = answer.map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&response.body)))?;
    Ok((response.status, answer))
}

/// The command prints this.
fn prints(app: &App<'_>, k: usize, typed: &[&str], expected: &str) -> Outcome {
    let came = run(app, k, typed)?;
    let shown = |text: &str| text.chars().take(200).collect::<String>();
    ensure(came.as_deref() == Ok(expected), || {
        let typed: Vec<String> = typed.iter().map(|word| shown(word)).collect();
        format!("{typed:?} on node {k}: {}, not {:?}", shown(&format!("{came:?}")), shown(expected))
    })
}

/// The package refuses the command with this text, which is the operator's mistake and not the node's.
fn refuses(app: &App<'_>, typed: &[&str], expected: &str) -> Outcome {
    let came = run(app, 0, typed)?;
    let is_refused = matches!(&came, Err((status, message)) if (400..500).contains(status) && message == expected);
    ensure(is_refused, || format!("{typed:?}: {came:?}, not refused with {expected:?}"))
}

fn listed(app: &App<'_>) -> Outcome {
    let expected: Vec<Value> =
        COMMANDS.iter().map(|(words, usage, help)| json!({ "words": words, "usage": usage, "help": help })).collect();
    for k in 0..3 {
        let (status, found) = ask(app, k, "GET", b"")?;
        ensure(status == 200 && found == Value::Array(expected.clone()), || format!("{status} {found}"))?;
    }
    let shown = app.ctl(0, &[app.name(), "--help"])?;
    ensure(shown.contains(&format!("recoilctl {} key put KEY VALUE", app.name())), || shown.clone())
}

fn as_they_are(app: &App<'_>) -> Outcome {
    let long = "größe ".repeat(LONG_BYTES / "größe ".len());
    for words in [
        &[][..],
        &[""],
        &["", "", "a"],
        &["größe", "日本語 \u{1f980}", "e\u{301}", "\u{feff}"],
        &["two words", " ", "\t", "a\nb\r\n", "\\n", "'\"`$", "--help", "-", "%s%d{}"],
        &["a\0b", "\u{7f}\u{1b}[2J", "\u{ffff}\u{10ffff}"],
        &[&long],
    ] {
        let expected: String = words.iter().map(|word| format!("[{word}]")).collect();
        prints(app, 1, &[&["echo"], words].concat(), &expected)?;
    }
    let many: Vec<String> = (0..WORDS).map(|word| word.to_string()).collect();
    let typed: Vec<&str> = ["echo"].into_iter().chain(many.iter().map(String::as_str)).collect();
    prints(app, 2, &typed, &many.iter().map(|word| format!("[{word}]")).collect::<String>())?;
    let printed = app.ctl(0, &[app.name(), "echo", "größe", "", "a b"])?;
    ensure(printed == "[größe][][a b]\n", || printed.clone())
}

fn reach(app: &App<'_>) -> Outcome {
    for (k, key) in ["größe", "b", "c d", "\u{1f980}"].into_iter().enumerate() {
        let value = format!("値 {k}\nof {key}");
        refuses(app, &["key", "get", key], "no such key")?;
        prints(app, k % 3, &["key", "put", key, &value], "")?;
        prints(app, (k + 1) % 3, &["key", "get", key], &value)?;
        let found = app.tcp((k + 2) % 3)?.ask(&[b"get", key.as_bytes()])?.texts()?;
        ensure(found == [value.as_str()], || format!("a client gets {found:?}"))?;
    }
    app.tcp(0)?.ask(&[b"put", b"b", b"of a client"])?.items()?;
    prints(app, 1, &["key", "get", "b"], "of a client")
}

fn refuse(app: &App<'_>) -> Outcome {
    for text in ["no", "größe: 日本語 \u{1f980}", "  two\nlines ", "%s {} \\"] {
        refuses(app, &["fail", text], text)?;
    }
    let none: [&[&str]; 8] = [
        &[""],
        &["key"],
        &["key put", "a", "b"],
        &["key", "put", "a"],
        &["key", "get", "a", "b"],
        &["Echo", "a"],
        &["fail"],
        &["throw", "a", "b"],
    ];
    for typed in none {
        refuses(app, typed, "no such command")?;
    }
    // The node does not ask the package for the command of no words.
    let came = run(app, 0, &[])?;
    ensure(matches!(&came, Err((400..500, message)) if message == "no command is named"), || format!("{came:?}"))
}

fn throw(app: &App<'_>) -> Outcome {
    let text = "thrown for an operator: größe";
    let came = run(app, 0, &["throw", text])?;
    match &came {
        Err((_, message)) if message.contains(text) => {}
        Err(_) => {
            app.logged("what was thrown", |line| line.message.contains(text))?;
        }
        Ok(_) => return Err(format!("{came:?}")),
    }
    prints(app, 0, &["echo", "after"], "[after]")
}

/// Each has an instance of its own, and leaves nothing behind that the next could be short of.
fn many(app: &App<'_>) -> Outcome {
    for number in 0..IN_A_ROW {
        let (k, value) = (number % 3, number.to_string());
        prints(app, k, &["key", "put", "counted", &value], "")?;
        prints(app, (k + 1) % 3, &["key", "get", "counted"], &value)?;
    }
    Ok(())
}
