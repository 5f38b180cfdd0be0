//! Every language's package, built as its author does and asked every case in one cluster.
//!
//! `cargo test -p recoil-conformance --test languages -- go transactions` runs the cases with `transactions` in their name for Go:
//! words that are languages choose languages, other words choose cases.
//!
//! One cluster serves all languages, one after another, each uninstalled before the next: starting one takes longer than most cases,
//! and what an app leaves behind would show in the next one's.

// Whole programs are tested against the clock on the wall.
#![allow(clippy::disallowed_methods)]

use std::process::ExitCode;
use std::time::Instant;

use recoil_cluster_tests::Cluster;
use recoil_conformance::{App, Case, Language, Report, cases};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let chosen = Language::all().and_then(|languages| Ok(choose(&words, languages, cases()?)));
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
    let mut report = Report::new(cases.iter().map(|case| case.name.clone()));
    let mut cluster = Cluster::simulator();
    for language in languages {
        if let Err(why) = ask(&cluster, &language, &cases, &mut report) {
            eprintln!("{}: {why}", language.name);
            report.absent(&language.name, why);
        }
    }
    cluster.stop();
    println!("\n{report}");
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// No word chooses everything.
fn choose(words: &[String], languages: Vec<Language>, cases: Vec<Case>) -> (Vec<Language>, Vec<Case>) {
    let is_language = |word: &&String| languages.iter().any(|language| language.name == **word);
    let (names, parts): (Vec<&String>, Vec<&String>) = words.iter().partition(is_language);
    let cases = cases.into_iter().filter(|case| parts.iter().all(|part| case.name.contains(part.as_str())));
    let chosen = |language: &Language| names.is_empty() || names.contains(&&language.name);
    (languages.iter().filter(|language| chosen(language)).cloned().collect(), cases.collect())
}

/// Builds and installs one language's package, and asks it every case.
fn ask(cluster: &Cluster, language: &Language, cases: &[Case], report: &mut Report) -> Result<(), String> {
    let since = Instant::now();
    let file = language.build()?;
    println!("\n{}: built in {:.1} s", language.name, since.elapsed().as_secs_f64());
    let app = App::install(cluster, &language.package(), &file)?;
    let run = |case: &Case| {
        let since = Instant::now();
        let result = case.run(&app);
        let took = since.elapsed();
        let said = match &result {
            Ok(()) => "ok".to_owned(),
            Err(why) => format!("FAILED: {why}"),
        };
        println!("{}: {} ... {said} ({:.1} s)", language.name, case.name, took.as_secs_f64());
        (result, took)
    };
    report.language(&language.name, cases.iter().map(run).collect());
    Ok(())
}
