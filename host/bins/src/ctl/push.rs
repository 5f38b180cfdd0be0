//! `recoilctl push`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use recoil_oci::{PackageReference, Reference, Repository, Tag};
use recoil_package::{Manifest, Source};
use recoil_registry_client::Registry;

use super::sources::{OCI, Outside, Progress, credentials, local, read_archive};
use super::{Format, Output, VerbError};
use crate::client::Client;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  recoilctl push                                             # the package in this folder, to the cluster's own registry
  recoilctl push oci://registry.example/acme/greeter:1.0.0   # to another, as `docker login` says
  recoilctl push --file ./greeter.wasm acme/greeter

A version 1.0.0+build.5 has the tag 1.0.0_build.5, since tags have no +. RECOIL_REGISTRY_TOKEN, in place of `docker login`, is for the
cluster's own registry, or for the one that RECOIL_REGISTRY_TOKEN_HOST names; no other is sent it.")]
pub(super) struct Push {
    /// Where to, if not where the manifest's namespace, name and version say: `acme/greeter@1.0.0`, or `oci://HOST/acme/greeter:1.0.0`.
    target: Option<String>,
    /// The package's folder, in which `recoilctl build` has made NAME.wasm.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    path: PathBuf,
    /// A package file, in place of a folder.
    #[arg(long, value_name = "FILE", conflicts_with = "path")]
    file: Option<PathBuf>,
    /// Let a version that was pushed before mean this from now on.
    #[arg(long)]
    replace: bool,
}

/// Where a package goes.
struct Target {
    registry: Registry,
    repository: Repository,
    tag: Tag,
    /// How `install` finds it.
    name: String,
}

impl Push {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        let (file, manifest) = self.built()?;
        let archive = read_archive(&file)
            .await
            .map_err(|why| local(format!("cannot push {}: {why}; make it with recoilctl build", file.display())))?;
        let inside = recoil_package::read(&archive).map_err(local)?;
        if manifest.is_some_and(|manifest| manifest != inside) {
            let file = file.display();
            return Err(local(format!(
                "{file} was built from another recoil.toml than the one beside it: run recoilctl build"
            )));
        }
        let target = self.target(client, &inside).await?;
        let title = format!("{}.wasm", inside.name);
        let artifact = recoil_oci::artifact(&archive, Some(&inside), &title, None, &BTreeMap::new()).map_err(local)?;
        let progress = Progress::new("pushing");
        let pushed = target
            .registry
            .push(&target.repository, &target.tag, &artifact, archive, self.replace, &|done, total| {
                progress.show(done, total);
            })
            .await
            .map_err(local)?;
        drop(progress);
        let Target { registry, repository, tag, name } = &target;
        match output.format() {
            Format::Json | Format::Yaml => output.value(&serde_json::json!({
                "registry": registry.address(), "repository": repository, "tag": tag, "digest": pushed.digest,
                "sent_bytes": pushed.sent_bytes, "was_there": pushed.was_there,
            }))?,
            Format::Table => {
                let what = if pushed.was_there { "was there already" } else { "is pushed" };
                output.line(&format!("{repository}@{tag} {what} at {}  {}", registry.address(), pushed.digest))?;
                output.line(&format!("  recoilctl install {name}"))?;
            }
        }
        Ok(())
    }

    /// The package file, and the manifest beside it.
    fn built(&self) -> Result<(PathBuf, Option<Manifest>), VerbError> {
        if let Some(file) = &self.file {
            return Ok((file.clone(), None));
        }
        let path = self.path.join("recoil.toml");
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let hint = "go to the folder of a package, or name a package file with --file";
            local(format!("cannot read {}: {error}; {hint}", path.display()))
        })?;
        let source = Source::from_toml(&text).map_err(|error| local(format!("{}: {error}", path.display())))?;
        let file = Path::new(&self.path).join(format!("{}.wasm", source.manifest.name));
        Ok((file, Some(source.manifest)))
    }

    async fn target(&self, client: &Client, manifest: &Manifest) -> Result<Target, VerbError> {
        let version = || {
            Tag::of_version(&manifest.version)
                .map_err(|error| local(format!("the version in recoil.toml cannot be published: {error}")))
        };
        let tag = |reference: Option<Reference>| match reference {
            None => version(),
            Some(Reference::Tag(tag)) => Ok(tag),
            Some(Reference::Digest(_)) => Err(local("a push names a version, not a digest")),
        };
        if let Some(outside) = self.target.as_deref().and_then(|target| target.strip_prefix(OCI)) {
            let outside = Outside::parse(outside)?;
            let registry =
                Registry::connect(&outside.address, credentials(&outside.address, client)?).await.map_err(local)?;
            let tag = tag(outside.version)?;
            let name = format!("{OCI}{}/{}:{tag}", registry.address(), outside.repository);
            return Ok(Target { registry, repository: outside.repository, tag, name });
        }
        let named = match (&self.target, &manifest.namespace) {
            (Some(target), _) => target.clone(),
            (None, Some(namespace)) => format!("{namespace}/{}", manifest.name),
            (None, None) => {
                let name = &manifest.name;
                return Err(local(format!(
                    "recoil.toml does not say who publishes {name}: add `namespace = \"acme\"`, or name it: recoilctl push acme/{name}"
                )));
            }
        };
        let reference: PackageReference = named.parse().map_err(local)?;
        let tag = tag(reference.version)?;
        // The cluster's registry is where its nodes are, and speaks as they do.
        let registry =
            Registry::connect_plain(client.server(), credentials(client.server(), client)?).await.map_err(local)?;
        let name = format!("{}@{tag}", reference.repository);
        Ok(Target { registry, repository: reference.repository, tag, name })
    }
}
