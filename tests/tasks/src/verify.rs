//! `cargo verify`: formatting, lints, licences, and all tests. Quick checks first, so that a slip is seen soon.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::{cargo, languages, markdown, root, step, target_dir, tools};

pub(crate) fn run() -> anyhow::Result<()> {
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
    let tests = ["test", "--workspace", "--locked"];
    let mut tests_command = cargo();
    tests_command.args(tests).arg("--target-dir").arg(&target_dir);
    step("tests", tests_command.env("RECOIL_TEST_PYTHON", python).env("RECOIL_TEST_LANGUAGES", languages))
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
