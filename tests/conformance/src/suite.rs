//! Cases asked of languages, chosen by words and shown in a table.
//!
//! Words that are languages choose languages, other words choose the cases with all of them in their names; no word chooses everything.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::language::Language;
use crate::report::Report;

/// What a case came to, and how long it took.
pub type Asked = (Result<(), String>, Duration);

/// Builds the package of every language that this program's arguments choose, and has `ask` ask it the cases. What is answered goes to the
/// table in the order of the cases; an error is one of the whole package.
pub fn run<C>(
    cases: Result<Vec<C>, String>,
    name: impl Fn(&C) -> &str,
    mut ask: impl FnMut(&Language, &Path, &[C]) -> Result<Vec<Asked>, String>,
) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let chosen = Language::all().and_then(|languages| Ok(choose(&words, languages, cases?, &name)));
    let (languages, cases) = match chosen {
        Ok(chosen) => chosen,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let names: Vec<&str> = languages.iter().map(|language| language.name.as_str()).collect();
    println!("languages: {}; cases: {}", names.join(", "), cases.len());
    if languages.is_empty() || cases.is_empty() {
        return ExitCode::SUCCESS;
    }
    let mut report = Report::new(cases.iter().map(|case| name(case).to_owned()));
    for language in languages {
        let since = Instant::now();
        let asked = language.build().and_then(|file| {
            println!("\n{}: built in {:.1} s", language.name, since.elapsed().as_secs_f64());
            ask(&language, &file, &cases)
        });
        match asked {
            Ok(asked) => report.language(&language.name, asked),
            Err(why) => {
                eprintln!("{}: {why}", language.name);
                report.absent(&language.name, why);
            }
        }
    }
    println!("\n{report}");
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a case and says what it came to.
pub fn timed(language: &Language, case: &str, run: impl FnOnce() -> Result<(), String>) -> Asked {
    let since = Instant::now();
    let result = run();
    let took = since.elapsed();
    let said = match &result {
        Ok(()) => "ok".to_owned(),
        Err(why) => format!("FAILED: {why}"),
    };
    println!("{}: {case} ... {said} ({:.1} s)", language.name, took.as_secs_f64());
    (result, took)
}

fn choose<C>(
    words: &[String],
    languages: Vec<Language>,
    cases: Vec<C>,
    name: impl Fn(&C) -> &str,
) -> (Vec<Language>, Vec<C>) {
    let is_language = |word: &&String| languages.iter().any(|language| language.name == **word);
    let (names, parts): (Vec<&String>, Vec<&String>) = words.iter().partition(is_language);
    let cases = cases.into_iter().filter(|case| parts.iter().all(|part| name(case).contains(part.as_str())));
    let chosen = |language: &Language| names.is_empty() || names.contains(&&language.name);
    (languages.iter().filter(|language| chosen(language)).cloned().collect(), cases.collect())
}
