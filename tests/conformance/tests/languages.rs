//! Every language's package, built as its author does and asked every case in one cluster.
//!
//! `cargo test -p recoil-conformance --test languages -- go transactions` runs the cases with `transactions` in their name for Go:
//! words that are languages choose languages, other words choose cases.
//!
//! One cluster serves all languages, one after another, each uninstalled before the next: starting one takes longer than most cases,
//! and what an app leaves behind would show in the next one's.

use std::process::ExitCode;

use recoil_cluster_tests::Cluster;
use recoil_conformance::{App, cases, suite};

fn main() -> ExitCode {
    let mut cluster = None;
    let code = suite::run(
        cases(),
        |case| &case.name,
        |language, file, cases| {
            let app = App::install(cluster.get_or_insert_with(Cluster::simulator), &language.package(), file)?;
            Ok(cases.iter().map(|case| suite::timed(language, &case.name, || case.run(&app))).collect())
        },
    );
    if let Some(mut cluster) = cluster {
        cluster.stop();
    }
    code
}
