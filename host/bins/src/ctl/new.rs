//! `recoilctl new`: a folder in which a package can be built and tested at once.
//!
//! The SDK and the contract go into the folder, under `.recoil/`: they are those that this program's nodes were built with, and the
//! package builds wherever the folder goes.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use recoil_package::Source;

use super::{Format, Output, VerbError};

/// The SDKs, their templates and the contract, by their paths in this repository; made by `build.rs`.
static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// Who publishes a package until its author says who does.
const DEFAULT_NAMESPACE: &str = "acme";

#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// The package's name, and its folder's: lower-case words joined by hyphens. Who publishes it may come first: `acme/greeter`.
    #[arg(value_name = "[NAMESPACE/]NAME")]
    package: String,
    /// The language to write it in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// What it speaks.
    #[arg(long, value_enum, default_value_t = Kind::Http)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Language {
    /// Rust, for wasm32-wasip2.
    Rust,
    /// Go, with the Go tools alone.
    Go,
    /// JavaScript.
    Js,
    /// TypeScript.
    Ts,
    /// Java, compiled ahead of time by TeaVM.
    Java,
    /// Python.
    Python,
    /// C, compiled by clang.
    C,
    /// C#, on the .NET runtime.
    #[value(name = "csharp")]
    CSharp,
}

impl Language {
    /// Folders below `sdk/`: of the SDK, and of the templates.
    fn folders(self) -> (&'static str, &'static str) {
        match self {
            Language::Rust => ("rust", "rust/templates"),
            Language::Go => ("go", "go/templates"),
            Language::Js => ("js", "js/templates"),
            Language::Ts => ("js", "js/templates-ts"),
            Language::Java => ("java", "java/templates"),
            Language::Python => ("python", "python/templates"),
            Language::C => ("c", "c/templates"),
            Language::CSharp => ("csharp", "csharp/templates"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// HTTP: the host owns the server, the package answers requests.
    Http,
    /// A protocol of its own over TCP.
    Tcp,
}

impl New {
    pub(super) fn run(&self, output: &mut Output) -> Result<(), VerbError> {
        let (namespace, name) = self.package.split_once('/').unwrap_or((DEFAULT_NAMESPACE, &self.package));
        let folder = PathBuf::from(name);
        let files = self.files(namespace, name)?;
        let cannot =
            |what: &Path, error: std::io::Error| VerbError::Local(format!("cannot make {}: {error}", what.display()));
        if folder.exists() {
            return Err(VerbError::Local(format!("{name} exists already: choose another name, or move it away")));
        }
        for (path, text) in &files {
            let path = folder.join(path);
            let parent = path.parent().unwrap_or(&folder);
            std::fs::create_dir_all(parent).map_err(|error| cannot(parent, error))?;
            std::fs::write(&path, text).map_err(|error| cannot(&path, error))?;
        }
        match output.format() {
            Format::Json | Format::Yaml => output.value(&serde_json::json!({ "name": name, "folder": folder }))?,
            Format::Table => {
                output.line(&format!("{name}/ holds a package that works. Next:"))?;
                for next in [format!("cd {name}"), "recoilctl test".into(), "recoilctl build".into()] {
                    output.line(&format!("  {next}"))?;
                }
                output.line(&format!("  recoilctl install ./{name}.wasm"))?;
            }
        }
        Ok(())
    }

    /// Every file of the folder and its text.
    fn files(&self, namespace: &str, name: &str) -> Result<Vec<(String, String)>, VerbError> {
        let (sdk, templates) = self.lang.folders();
        let kind = match self.kind {
            Kind::Http => "http",
            Kind::Tcp => "tcp",
        };
        let (of_kind, common) = (format!("sdk/{templates}/{kind}/"), format!("sdk/{templates}/common/"));
        let fill = |text: &str| {
            text.replace("{{name}}", name)
                .replace("{{namespace}}", namespace)
                .replace("{{crate}}", &name.replace('-', "_"))
                .replace("{{version}}", env!("CARGO_PKG_VERSION"))
        };
        let mut files = Vec::new();
        for (path, text) in FILES {
            let template = path.strip_prefix(&*of_kind).or_else(|| path.strip_prefix(&*common));
            let of_sdk = path.strip_prefix("sdk/").is_none_or(|below| {
                // Rust's own manifest belongs to this repository's workspace; made packages have one from the templates.
                below.starts_with(&format!("{sdk}/")) && !below.contains("/templates") && below != "rust/Cargo.toml"
            });
            let place = match template {
                Some(place) => place.trim_end_matches(".template").to_owned(),
                None if of_sdk => format!(".recoil/{path}"),
                None => continue,
            };
            let text = if path.ends_with(".template") { fill(text) } else { (*text).to_owned() };
            if place == "recoil.toml" {
                // What is wrong with the name is said in the manifest's own words.
                Source::from_toml(&text).map_err(|error| VerbError::Local(error.to_string()))?;
            }
            files.push((place, text));
        }
        Ok(files)
    }
}
