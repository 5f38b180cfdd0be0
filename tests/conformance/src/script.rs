//! Cases as texts: what is sent, and what must come back.
//!
//! ```text
//! # A line of a comment.
//! over tcp http handler
//! put a 1               =
//! get a                 = 1
//! call read k [put a 2] ! rejected read-only
//! ```
//!
//! `over` says by which ways the script is run: in the listener over TCP or HTTP, or in a handler. Every other line is a command, and
//! behind a lone `=` the items of its answer, or behind a lone `!` the kind of its error and what the text must contain.
//!
//! - A word is bytes: bare, or in double quotes where it is empty or has blanks or brackets. `\n`, `\\`, `\"` and `\x00` stand for a byte
//!   each; `ab*1000` is `ab` a thousand times, and `\*` a star.
//! - `[a b]` is a list as one item; `{= a}` and `{! kind}` are answers as one item, as `call-many` has them.
//! - In an answer `_` is any item, `#` a decimal number, and `...` whatever else there may be.

use crate::client::Client;
use crate::wire::{Answer, items, list};

/// Characters of a line that errors show.
const LINE_SHOWN_MAX: usize = 100;

/// How a script is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In the listener, over TCP.
    Tcp,
    /// In the HTTP handler.
    Http,
    /// In the handler of one partition.
    Handler,
}

impl Way {
    /// Its name in scripts and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Way::Tcp => "tcp",
            Way::Http => "http",
            Way::Handler => "handler",
        }
    }
}

/// A case as a text, read.
#[derive(Debug)]
pub struct Script {
    /// The ways it is run.
    pub over: Vec<Way>,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    /// Where it stands, and what it says.
    line: String,
    request: Vec<Vec<u8>>,
    expected: Expected,
}

#[derive(Debug)]
enum Expected {
    Items(Vec<Pattern>),
    Error { kind: Vec<u8>, fragments: Vec<Vec<u8>> },
}

#[derive(Debug)]
enum Pattern {
    Any,
    Number,
    Rest,
    Exactly(Vec<u8>),
    List(Vec<Pattern>),
    Answer(Expected),
}

impl Script {
    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut script = Script { over: Vec::new(), steps: Vec::new() };
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = |why: String| format!("{}: {why}", place(number + 1, line));
            match line.strip_prefix("over ") {
                Some(ways) => script.over = ways.split_whitespace().map(way).collect::<Result<_, _>>().map_err(at)?,
                None => script.steps.push(step(number + 1, line).map_err(at)?),
            }
        }
        if script.over.is_empty() { Err("no line says `over` which ways it is run".into()) } else { Ok(script) }
    }

    /// Runs it; the error says which line was answered what.
    pub fn run(&self, client: &mut dyn Client) -> Result<(), String> {
        self.steps.iter().try_for_each(|step| {
            let at = |why: String| format!("{}: {why}", step.line);
            let answer = client.ask_list(&list(&step.request)).map_err(at)?;
            if step.expected.matches(&answer) { Ok(()) } else { Err(at(format!("the answer is {answer}"))) }
        })
    }
}

impl Expected {
    fn matches(&self, answer: &Answer) -> bool {
        match (self, answer) {
            (Expected::Items(patterns), Answer::Items(items)) => all_match(patterns, items),
            (Expected::Error { kind, fragments }, Answer::Error { kind: found, text }) => {
                let contains = |fragment: &Vec<u8>| text.contains(&*String::from_utf8_lossy(fragment));
                kind == found.as_bytes() && fragments.iter().all(contains)
            }
            _ => false,
        }
    }
}

fn all_match(patterns: &[Pattern], items: &[Vec<u8>]) -> bool {
    match patterns {
        [before @ .., Pattern::Rest] => items.len() >= before.len() && all_match(before, &items[..before.len()]),
        _ => patterns.len() == items.len() && patterns.iter().zip(items).all(|(pattern, item)| pattern.matches(item)),
    }
}

impl Pattern {
    fn matches(&self, item: &[u8]) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Number => !item.is_empty() && item.iter().all(u8::is_ascii_digit),
            Pattern::Rest => false,
            Pattern::Exactly(bytes) => bytes == item,
            Pattern::List(patterns) => items(item).is_ok_and(|items| all_match(patterns, &items)),
            Pattern::Answer(expected) => Answer::of(item).is_ok_and(|answer| expected.matches(&answer)),
        }
    }
}

/// What a line is made of.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// Bytes, and whether they were written bare and as they are, so that they may mean something.
    Word(Vec<u8>, bool),
    /// `[`, `]`, `{` or `}`.
    Bracket(u8),
}

/// A line, as errors name it: cut, without the blanks that align it.
fn place(number: usize, text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut = text.char_indices().nth(LINE_SHOWN_MAX).map_or(text.len(), |(cut, _)| cut);
    format!("line {number}, `{}{}`", &text[..cut], if cut < text.len() { "…" } else { "" })
}

fn way(name: &str) -> Result<Way, String> {
    let all = [Way::Tcp, Way::Http, Way::Handler];
    all.into_iter().find(|way| way.name() == name).ok_or_else(|| format!("there is no way '{name}'"))
}

fn step(number: usize, text: &str) -> Result<Step, String> {
    let tokens = tokens(text.as_bytes())?;
    let mut rest = tokens.as_slice();
    let mut request = Vec::new();
    while !matches!(rest, [Token::Word(word, true), ..] if word == b"=" || word == b"!") {
        request.push(argument(&mut rest)?);
    }
    let expected = expected(&mut rest)?;
    let line = place(number, text);
    if rest.is_empty() { Ok(Step { line, request, expected }) } else { Err("a bracket too many".into()) }
}

fn argument(rest: &mut &[Token]) -> Result<Vec<u8>, String> {
    match rest {
        [Token::Word(word, _), more @ ..] => {
            *rest = more;
            Ok(word.clone())
        }
        [Token::Bracket(b'['), more @ ..] => {
            *rest = more;
            let mut arguments = Vec::new();
            while !closed(rest, b']') {
                arguments.push(argument(rest)?);
            }
            Ok(list(&arguments))
        }
        _ => Err("a command ends with = or !, and every bracket closes".into()),
    }
}

/// Takes the bracket, if it is the next token.
fn closed(rest: &mut &[Token], bracket: u8) -> bool {
    match rest {
        [Token::Bracket(found), more @ ..] if *found == bracket => {
            *rest = more;
            true
        }
        _ => false,
    }
}

fn expected(rest: &mut &[Token]) -> Result<Expected, String> {
    let [Token::Word(sign, true), more @ ..] = rest else { return Err("an answer begins with = or !".into()) };
    *rest = more;
    if sign == b"=" {
        return patterns(rest).map(Expected::Items);
    }
    let mut words = Vec::new();
    while let [Token::Word(word, _), more @ ..] = rest {
        words.push(word.clone());
        *rest = more;
    }
    if words.is_empty() {
        return Err("an error has a kind".into());
    }
    let fragments = words.split_off(1);
    Ok(Expected::Error { kind: words.remove(0), fragments })
}

/// Up to the end, or to a bracket that closes more.
fn patterns(rest: &mut &[Token]) -> Result<Vec<Pattern>, String> {
    let mut patterns = Vec::new();
    loop {
        let pattern = match rest {
            [] | [Token::Bracket(b']' | b'}'), ..] => return Ok(patterns),
            [Token::Word(word, bare), more @ ..] => {
                *rest = more;
                match word.as_slice() {
                    b"_" if *bare => Pattern::Any,
                    b"#" if *bare => Pattern::Number,
                    b"..." if *bare => Pattern::Rest,
                    _ => Pattern::Exactly(word.clone()),
                }
            }
            [Token::Bracket(open), more @ ..] => {
                let open = *open;
                *rest = more;
                let (pattern, close) = match open {
                    b'[' => (Pattern::List(self::patterns(rest)?), b']'),
                    _ => (Pattern::Answer(expected(rest)?), b'}'),
                };
                if !closed(rest, close) {
                    return Err("a bracket that does not close".into());
                }
                pattern
            }
        };
        patterns.push(pattern);
    }
}

fn tokens(mut text: &[u8]) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    loop {
        text = text.trim_ascii_start();
        match text {
            [] => return Ok(tokens),
            [bracket @ (b'[' | b']' | b'{' | b'}'), rest @ ..] => {
                tokens.push(Token::Bracket(*bracket));
                text = rest;
            }
            _ => tokens.push(word(&mut text)?),
        }
    }
}

fn word(text: &mut &[u8]) -> Result<Token, String> {
    let mut bare = true;
    let mut bytes = Vec::new();
    let quoted = text.first() == Some(&b'"');
    if quoted {
        (bare, *text) = (false, &text[1..]);
    }
    loop {
        let (byte, rest) = match *text {
            [b'"', rest @ ..] if quoted => {
                *text = rest;
                break;
            }
            [] if quoted => return Err("a quote that does not close".into()),
            [] | [b' ' | b'[' | b']' | b'{' | b'}' | b'*', ..] if !quoted => break,
            [b'\\', b'n', rest @ ..] => (b'\n', rest),
            [b'\\', b'x', high, low, rest @ ..] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).ok_or("\\x is followed by two digits");
                ((digit(high)? * 16 + digit(low)?) as u8, rest)
            }
            [b'\\', byte, rest @ ..] => (*byte, rest),
            [byte, rest @ ..] => {
                bytes.push(*byte);
                *text = rest;
                continue;
            }
            [] => break,
        };
        bare = false;
        bytes.push(byte);
        *text = rest;
    }
    if let [b'*', rest @ ..] = *text {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (count, rest) = rest.split_at(digits);
        let count = String::from_utf8_lossy(count).parse::<usize>().map_err(|_| "a star is followed by a number")?;
        (bytes, bare, *text) = (bytes.repeat(count), false, rest);
    }
    Ok(Token::Word(bytes, bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers whatever it is told to, and remembers what it was asked.
    struct Fixed(Answer, Vec<Vec<u8>>);

    impl Client for Fixed {
        fn ask_list(&mut self, request: &[u8]) -> Result<Answer, String> {
            self.1 = items(request)?;
            Ok(self.0.clone())
        }
    }

    fn run(line: &str, answer: &Answer) -> Result<Vec<Vec<u8>>, String> {
        let mut client = Fixed(answer.clone(), Vec::new());
        Script::parse(&format!("over tcp\n# nothing\n{line}"))?.run(&mut client)?;
        Ok(client.1)
    }

    fn items_of(items: &[&[u8]]) -> Answer {
        Answer::Items(items.iter().map(|item| item.to_vec()).collect())
    }

    #[test]
    fn words_are_bytes() {
        let asked = run(r#"put "" "a b" \x00\n ab*2 \* "]"*3 [x "=" [y]] = "#, &items_of(&[])).unwrap();
        let expected: [&[u8]; 7] = [b"put", b"", b"a b", b"\0\n", b"abab", b"*", b"]]]"];
        assert_eq!(asked[..7], expected);
        assert_eq!(asked[7], list(&[&b"x"[..], b"=", &list(&["y"])]));
    }

    #[test]
    fn answers_must_be_what_the_line_says() {
        let nested = [&[0][..], &list(&["a"])].concat();
        let refused = [&[1][..], &list(&["rejected", "no way"])].concat();
        let answer = items_of(&[b"1", b"ab", &nested, &refused, &list(&["7"])]);
        for line in ["x = 1 ab {= a} {! rejected way} [#]", "x = # _ ...", "x = ...", "x = _ _ _ _ _"] {
            run(line, &answer).unwrap();
        }
        for line in [
            "x = 1 ab",
            "x = 1 #  ...",
            "x = _ _ {! rejected} ...",
            "x = 1 ab {= a} {! rejected} [_ _]",
            "x ! rejected",
        ] {
            let wrong = run(line, &answer).unwrap_err();
            assert!(
                wrong.starts_with("line 3, `x ") && wrong.contains("`: the answer is = \"1\" \"ab\""),
                "{line}: {wrong}"
            );
        }
        let error = Answer::Error { kind: "too-large".into(), text: "limit 5: 6".into() };
        run("x ! too-large 5 6", &error).unwrap();
        run("x ! too-large 7", &error).unwrap_err();
        run("x ! large", &error).unwrap_err();
    }

    #[test]
    fn what_is_no_script_is_refused() {
        for (line, why) in [
            ("x", "ends with = or !"),
            ("x [y = 1", "every bracket closes"),
            ("x = [1", "does not close"),
            ("x = 1]", "too many"),
            ("x \"y = 1", "quote"),
            ("x y*z = 1", "star"),
            ("x !", "kind"),
        ] {
            let refused = run(line, &items_of(&[])).unwrap_err();
            assert!(refused.starts_with("line 3, `x") && refused.contains(why), "{line}: {refused}");
        }
        assert!(Script::parse("get a = 1").unwrap_err().contains("over"));
        assert!(Script::parse("over sea\nget a = 1").unwrap_err().contains("'sea'"));
    }
}
