//! Every language's package, built as its author does and asked every case in one cluster.
//!
//! `cargo test -p recoil-conformance --test languages -- go transactions` runs the cases with `transactions` in their name for Go:
//! words that are languages choose languages, other words choose cases.
//!
//! One cluster serves all languages, one after another, each uninstalled before the next: starting one takes longer than most cases,
//! and what an app leaves behind would show in the next one's.

use std::process::ExitCode;

use recoil_cluster_tests::Cluster;
use recoil_conformance::{App, Language, cases, suite};

/// Whose package has no commands, so that its cases are not asked: in Java, with them, the collector leaves a reference in a listener null after
/// some thousand calls ("calls that are left alone" fails). The role is in the SDK and tested there, natively.
const WITHOUT_COMMANDS: [&str; 1] = ["java"];

fn has(language: &Language, case: &str) -> bool {
    !case.starts_with("admin: ") || !WITHOUT_COMMANDS.contains(&language.name.as_str())
}

fn main() -> ExitCode {
    let mut cluster = None;
    let code = suite::run(
        cases(),
        |case| &case.name,
        |language, file, cases| {
            let app = App::install(cluster.get_or_insert_with(Cluster::simulator), &language.package(), file)?;
            let cases = cases.iter().filter(|case| has(language, &case.name));
            Ok(cases.map(|case| suite::timed(language, &case.name, || case.run(&app))).collect())
        },
    );
    if let Some(mut cluster) = cluster {
        cluster.stop();
    }
    code
}
