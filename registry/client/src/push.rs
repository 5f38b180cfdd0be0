//! A package into a registry, sending only what is not there.
//!
//! The order is the one that the distribution specification demands: the contents first, and the manifest, which makes them a version,
//! last. Whatever breaks before that leaves the registry as it was, for everyone but its garbage collector.

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use recoil_oci::{Artifact, Digest, IMAGE_MANIFEST_MEDIA_TYPE, Repository, Tag};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use tokio::sync::watch;

use crate::attempts::{Attempts, SILENCE_MAX, in_time, silence};
use crate::failure::{Failure, Kind};
use crate::http::{expect, refusal};
use crate::registry::Image;
use crate::sign_in::Operation;
use crate::{Registry, RegistryError};

/// Bytes that are handed to the connection at a time, and after which progress is told.
const PIECE_BYTES: usize = 64 << 10;

/// What a push came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest's digest, which the tag now means.
    pub digest: Digest,
    /// Bytes of config and component that were sent.
    pub sent_bytes: u64,
    /// True if the tag meant this before, and nothing was sent at all.
    pub was_there: bool,
}

impl Registry {
    /// Makes `tag` mean `artifact`, whose component is `archive`.
    ///
    /// A tag that means something else is left so, with [`RegistryError::Exists`], unless `replace` is set. The registry is asked for that
    /// first: two who push the same new tag in the same moment are kept apart only by registries that do so themselves. `progress` is
    /// told how many of the bytes are there, and of how many. Pushing again after a failure is safe.
    pub async fn push(
        &self,
        repository: &Repository,
        tag: &Tag,
        artifact: &Artifact,
        archive: Bytes,
        replace: bool,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Pushed, RegistryError> {
        let what = format!("{repository}@{tag}");
        let told = |failure: Failure| self.tell(failure, what.as_str());
        let image = &Image::new(repository, tag.as_str());
        // Signs in for the whole of it: what may be written may be read.
        Attempts::new(self, image, Operation::Push).make(|| async { Ok(()) }).await.map_err(told)?;
        let digest = artifact.manifest_digest.clone();
        match self.digest_of(image).await.map_err(told)? {
            Some(there) if there == digest => return Ok(Pushed { digest, sent_bytes: 0, was_there: true }),
            Some(there) if !replace => {
                let (registry, tag, there) = (self.address().to_owned(), tag.clone(), there.to_string());
                return Err(RegistryError::Exists { registry, what, tag, there, here: digest });
            }
            Some(_) | None => {}
        }
        let sent_bytes = self.push_contents(image, artifact, archive, progress).await.map_err(told)?;
        self.push_manifest(image, artifact).await.map_err(told)?;
        Ok(Pushed { digest, sent_bytes, was_there: false })
    }

    /// Sends what is missing of the config and the component. Returns how many bytes that were.
    async fn push_contents(
        &self,
        image: &Image,
        artifact: &Artifact,
        archive: Bytes,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<u64, Failure> {
        let contents =
            [(&artifact.config_digest, Bytes::from(artifact.config.clone())), (&artifact.layer_digest, archive)];
        let total = contents.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let (mut done, mut sent) = (0, 0);
        for (digest, bytes) in contents {
            let size = bytes.len() as u64;
            if !self.has(image, digest).await? {
                Attempts::new(self, image, Operation::Push)
                    .make(|| self.send_blob(image, digest, bytes.clone(), |piece| progress(done + piece, total)))
                    .await?;
                sent += size;
            }
            done += size;
            progress(done, total);
        }
        Ok(sent)
    }

    async fn has(&self, image: &Image, digest: &Digest) -> Result<bool, Failure> {
        Attempts::new(self, image, Operation::Pull).make(|| in_time(self.has_now(image, digest))).await
    }

    async fn has_now(&self, image: &Image, digest: &Digest) -> Result<bool, Failure> {
        let url = self.http.url(&image.path("blobs", digest.as_str()));
        let answer = self.send(image, Operation::Pull, Method::HEAD, url, |request| request).await?;
        match answer.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(refusal(answer).await),
        }
    }

    /// One attempt at sending a content. It may take as long as it likes, while some of it is taken now and then.
    async fn send_blob(
        &self,
        image: &Image,
        digest: &Digest,
        bytes: Bytes,
        progress: impl Fn(u64),
    ) -> Result<(), Failure> {
        let size = bytes.len() as u64;
        let (taken, mut seen) = watch::channel(0);
        let pieces = stream::iter((0..bytes.len()).step_by(PIECE_BYTES)).map(move |start| {
            let end = bytes.len().min(start + PIECE_BYTES);
            taken.send_replace(end as u64);
            Ok::<Bytes, std::convert::Infallible>(bytes.slice(start..end))
        });
        let url = self.http.url(&image.path("blobs", "uploads/"));
        let begun = self.send(image, Operation::Push, Method::POST, url, |request| request.header(CONTENT_LENGTH, 0));
        let begun = in_time(expect(in_time(begun).await?, &[StatusCode::ACCEPTED])).await?;
        let mut url = self.http.location(&begun)?;
        // A query that the location has stays: it is the registry's own.
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let mut sending = Box::pin(async move {
            let sent = self.send(image, Operation::Push, Method::PUT, url, |request| {
                let request = request.header(CONTENT_LENGTH, size).header(CONTENT_TYPE, "application/octet-stream");
                request.body(reqwest::Body::wrap_stream(pieces))
            });
            expect(sent.await?, &[StatusCode::CREATED]).await
        });
        loop {
            tokio::select! {
                biased;
                sent = &mut sending => return sent.map(drop),
                Ok(()) = seen.changed() => progress(*seen.borrow_and_update()),
                () = tokio::time::sleep(SILENCE_MAX) => return Err(silence()),
            }
        }
    }

    /// Gives the tag its meaning, and looks whether it has it.
    async fn push_manifest(&self, image: &Image, artifact: &Artifact) -> Result<(), Failure> {
        Attempts::new(self, image, Operation::Push).make(|| in_time(self.put_manifest(image, artifact))).await?;
        match self.digest_of(image).await? {
            Some(there) if there == artifact.manifest_digest => Ok(()),
            Some(there) => {
                let why = format!(
                    "the tag is now {there}, and not {}: has someone else pushed it?",
                    artifact.manifest_digest
                );
                Err(Failure::new(Kind::Damaged, why))
            }
            None => Err(Failure::new(Kind::Damaged, "the tag is not there although the registry has taken it")),
        }
    }

    async fn put_manifest(&self, image: &Image, artifact: &Artifact) -> Result<(), Failure> {
        let url = self.http.url(&image.manifest());
        let sent = self.send(image, Operation::Push, Method::PUT, url, |request| {
            request.header(CONTENT_TYPE, IMAGE_MANIFEST_MEDIA_TYPE).body(artifact.manifest.clone())
        });
        expect(sent.await?, &[StatusCode::CREATED]).await.map(drop)
    }
}
