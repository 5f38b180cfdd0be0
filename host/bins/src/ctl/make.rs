//! `recoilctl build` and `recoilctl test`, in the folder of a package.

use std::path::{Path, PathBuf};
use std::process::Command;

use recoil_package::{Build as Steps, Manifest, PackageError, Shape, Source};

use super::dotnet::PROGRAM_VARIABLE;
use super::{Format, Output, VerbError};

/// Variables for programs of this machine: cargo would give their flags to the component's compiler, which has other options.
const FOR_THIS_MACHINE: [&str; 4] =
    ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET"];

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The build takes no flags that are set for programs of this machine: RUSTFLAGS, GOFLAGS and their like. Those of the package belong into
`build.command` in recoil.toml.")]
pub(super) struct Build {
    /// The package's folder.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    path: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct Test {
    /// The package's folder.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    path: PathBuf,
}

impl Build {
    pub(super) fn run(&self, output: &mut Output) -> Result<(), VerbError> {
        let Built { file, archive, shape, manifest } = build(&self.path)?;
        print(output, &file, &archive, &shape, &manifest)
    }
}

/// A package that was built.
pub(super) struct Built {
    file: PathBuf,
    /// What the file has.
    pub(super) archive: Vec<u8>,
    shape: Shape,
    /// Inside it.
    pub(super) manifest: Manifest,
}

/// Builds the package in a folder.
pub(super) fn build(folder: &Path) -> Result<Built, VerbError> {
    let (source, steps) = read(folder)?;
    shell(folder, &steps.command, &FOR_THIS_MACHINE)?;
    let made = folder.join(&steps.component);
    let local = |what: &Path, why: String| VerbError::Local(format!("{}: {why}", what.display()));
    let built = std::fs::read(&made).map_err(|error| {
        local(
            &made,
            format!("{error}. It is what recoil.toml calls build.component; `{}` did not make it", steps.command),
        )
    })?;
    let component = recoil_component::componentize(&built).map_err(|error| local(&made, error.to_string()))?;
    let shape = recoil_package::shape(&component).map_err(|error| local(&made, error.to_string()))?;
    shape
        .check(&source.manifest)
        .map_err(|error| VerbError::Local(with_advice(&error, &source.manifest, &steps.command)))?;
    let archive =
        recoil_package::embed(&component, &source.manifest).map_err(|error| VerbError::Local(error.to_string()))?;
    let file = folder.join(format!("{}.wasm", source.manifest.name));
    std::fs::write(&file, &archive).map_err(|error| local(&file, error.to_string()))?;
    Ok(Built { file, archive, shape, manifest: source.manifest })
}

/// What is wrong and, of a role that is missing, how its author writes it. What listens nowhere may be meant for a scheduler.
fn with_advice(error: &PackageError, manifest: &Manifest, command: &str) -> String {
    let PackageError::MissingExport { role, .. } = error else { return error.to_string() };
    let may_plan = *role == "handler" && manifest.listeners.is_empty();
    let instead = advice(command, "scheduler").filter(|_| may_plan);
    let instead = instead.map(|advice| format!("for a package that only places partitions, {advice}"));
    [Some(error.to_string()), advice(command, role), instead].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// How a package is given a role, in the words of the SDK that it is built with: by a script of that SDK, or by cargo.
fn advice(command: &str, role: &str) -> Option<String> {
    let sdk = match command.split_once("/sdk/") {
        Some((_, script)) => script.split('/').next()?,
        None if command.starts_with("cargo ") => "rust",
        None => return None,
    };
    let at = ["handler", "tcp-listener", "http-handler", "scheduler"].iter().position(|known| *known == role)?;
    Some(match sdk {
        "c" => {
            let exports = ["HANDLER", "LISTENER", "HTTP_HANDLER", "SCHEDULER"];
            format!("in C, write RECOIL_EXPORT_{}(function);", exports[at])
        }
        "csharp" => {
            let interface = ["IHandler", "IListener", "IHttpHandler", "IScheduler"][at];
            format!("in C#, the package's class implements {interface}")
        }
        "go" => format!("in Go, main calls recoil.{}", ["Handler", "Listener", "HTTPHandler", "Scheduler"][at]),
        "java" => {
            let interface = ["Handler", "Listener", "HttpHandler", "Scheduler"][at];
            format!("in Java, the package's class implements {interface}")
        }
        "js" => {
            let export = ["handler", "listener", "httpHandler", "scheduler"][at];
            format!("in JavaScript, the package's first module has `export const {export}`")
        }
        "python" => {
            let class = ["Handler", "Listener", "HttpHandler", "Scheduler"][at];
            format!("in Python, a class extends recoil.{class}")
        }
        "rust" => {
            let (name, interface) = [
                ("handler", "Handler"),
                ("tcp_listener", "Listener"),
                ("http_handler", "HttpHandler"),
                ("scheduler", "Scheduler"),
            ][at];
            format!("in Rust, implement {interface} and name {name} in recoil_sdk::export!")
        }
        _ => return None,
    })
}

impl Test {
    pub(super) fn run(&self) -> Result<(), VerbError> {
        let (_, steps) = read(&self.path)?;
        let Some(test) = steps.test else {
            return Err(VerbError::Local(
                "recoil.toml says no build.test: name the command that runs the tests".into(),
            ));
        };
        shell(&self.path, &test, &[])
    }
}

pub(super) fn read(folder: &Path) -> Result<(Source, Steps), VerbError> {
    let path = folder.join("recoil.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let hint = "go to the folder of a package, or begin one with recoilctl new";
        VerbError::Local(format!("cannot read {}: {error}; {hint}", path.display()))
    })?;
    let source = Source::from_toml(&text)
        .map_err(|error| VerbError::Local(format!("{} cannot be used: {error}", path.display())))?;
    let steps = source.build.clone().ok_or_else(|| {
        let example = "[build]\ncommand = \"cargo build --release --target wasm32-wasip2\"\ncomponent = \"target/wasm32-wasip2/release/NAME.wasm\"";
        VerbError::Local(format!("{} does not say how the package is built; add, for Rust:\n{example}", path.display()))
    })?;
    Ok((source, steps))
}

/// Runs a step, without these variables; what it prints goes where this program's output goes, so that nothing of it is lost, but never to stdout.
fn shell(folder: &Path, command: &str, without: &[&str]) -> Result<(), VerbError> {
    let failed = |why: String| VerbError::Local(format!("`{command}` failed: {why}"));
    let stderr = std::io::stderr();
    let mut step = Command::new("sh");
    step.args(["-c", command]).current_dir(folder).stdout(stderr);
    // With it, `cd` may print where it went, and scripts that ask for a folder's path read two.
    step.env_remove("CDPATH");
    for variable in without {
        step.env_remove(variable);
    }
    if let Ok(program) = crate::process::under_name("recoilctl") {
        // What it runs may need this program, and be meant for this version of it.
        step.env(PROGRAM_VARIABLE, program);
    }
    let ran = step.status();
    let status = ran.map_err(|error| failed(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(format!("{status}; what is printed above says why"))) }
}

fn print(
    output: &mut Output,
    file: &Path,
    archive: &[u8],
    shape: &Shape,
    manifest: &Manifest,
) -> Result<(), VerbError> {
    let digest = recoil_package::digest(archive);
    match output.format() {
        Format::Json | Format::Yaml => output.value(&serde_json::json!({
            "file": file, "bytes": archive.len(), "digest": digest, "exports": shape.exports, "imports": shape.imports,
            "permissions": manifest.permissions,
        }))?,
        Format::Table => {
            output.line(&format!("{}  {} KB  {digest}", file.display(), archive.len().div_ceil(1000)))?;
            for (what, names) in [("exports", &shape.exports), ("imports", &shape.imports)] {
                for name in names {
                    output.line(&format!("  {what}  {name}"))?;
                }
            }
            for permission in &manifest.permissions {
                output.line(&format!("  asks to  {} ({permission})", permission.what()))?;
            }
            for (interface, permission) in shape.unasked(manifest) {
                output.line(&format!(
                    "  note     it imports {interface}, and recoil.toml does not ask for the permission '{permission}': if it is called, it refuses"
                ))?;
            }
        }
    }
    Ok(())
}
