//! `cargo verify`: formatting, lints, licences, and all tests. Quick checks first, so that a slip is seen soon.
//!
//! Unit tests always run. A suite (a file in a `tests` folder) that has passed is not run again until something that it depends on
//! has changed ([`passed`]), so that a second run takes minutes. `cargo verify --all` runs every suite.

mod passed;

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::bail;

use crate::{cargo, languages, markdown, root, step, target_dir, tools};

pub(crate) fn run(arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let mut all = false;
    for argument in arguments {
        match argument.as_str() {
            "--all" => all = true,
            other => bail!("cargo verify has no option '{other}', only --all: run the suites that have passed, too"),
        }
    }
    let target_dir = target_dir()?;
    tools::rust_components()?;
    tools::wasm_target()?;
    tools::client("redis-cli", "redis-tools")?;
    tools::client("curl", "curl")?;
    tools::client("docker-registry", "docker-registry")?;
    let python = tools::python(&target_dir)?;
    let deny = tools::cargo_deny(&target_dir)?;
    let languages = languages::available()?.join(",");

    step("formatting", cargo().args(["fmt", "--all", "--check"]))?;
    markdown::check()?;
    step("licences, sources and banned crates", deny_command(&deny).args(["check", "licenses", "bans", "sources"]))?;
    advisories(&deny)?;
    let lints = ["clippy", "--workspace", "--all-targets", "--locked"];
    step("lints", cargo().args(lints).arg("--target-dir").arg(&target_dir).args(["--", "--deny", "warnings"]))?;
    let test = |arguments: &[&str]| {
        let mut command = cargo();
        command.args(["test", "--workspace", "--locked", "--target-dir"]).arg(&target_dir).args(arguments);
        command.env("RECOIL_TEST_PYTHON", &python).env("RECOIL_TEST_LANGUAGES", &languages);
        command
    };
    let mut suites = passed::Suites::of(&mut test(&["--no-run"]), &target_dir, &languages)?;
    step("unit tests", &mut test(&["--lib", "--bins"]))?;
    for suite in suites.names() {
        if !all && suites.has_passed(&suite) {
            eprintln!("\n== {suite}: skipped, nothing that it depends on has changed since it passed");
            continue;
        }
        step(&suite, &mut test(&["--test", &suite]))?;
        suites.record(&suite)?;
    }
    suites.print_times();
    step("examples in the documentation", &mut test(&["--doc"]))
}

fn deny_command(deny: &Path) -> Command {
    let mut command = Command::new(deny);
    command.current_dir(root()).args(["--log-level", "error", "--all-features"]);
    command.arg("--config").arg(root().join(".deny.toml"));
    command
}

/// Known vulnerabilities, if their list can be had: a machine without a network is no reason to fail.
fn advisories(deny: &Path) -> anyhow::Result<()> {
    let mut fetch = deny_command(deny);
    let fetched = fetch.args(["fetch", "db"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !fetched.is_ok_and(|status| status.success()) {
        eprintln!("\n== advisories: skipped, the list of known vulnerabilities cannot be fetched from here");
        return Ok(());
    }
    step("advisories", deny_command(deny).args(["check", "advisories"]))
}
