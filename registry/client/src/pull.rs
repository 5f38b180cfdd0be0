//! A component's bytes, through connections that break.
//!
//! What has come is kept when a connection breaks, and the next one is asked for the rest only (RFC 9110, section 14, "Range
//! Requests"). A registry that sends all of it again is let. Nothing is believed of an answer but its bytes: they are counted as they
//! come, and compared with the digest when all are there.

use futures::StreamExt as _;
use oci_client::client::BlobResponse;
use recoil_oci::Descriptor;
use recoil_package::ARCHIVE_BYTES_MAX;
use reqwest::header::RANGE;
use reqwest::{Method, StatusCode};

use crate::attempts::{Attempts, SILENCE_MAX, in_time, silence};
use crate::blobs::Blob;
use crate::failure::{Failure, Kind};
use crate::http::expect;
use crate::registry::Image;
use crate::sign_in::Operation;
use crate::{Registry, RegistryError, Resolved};

impl Registry {
    /// The component's bytes: exactly those that the digest of `resolved.layer` names.
    ///
    /// Tries again as long as each few attempts bring something. `progress` is told how many bytes have come, and of how many; the
    /// first can become less, when a registry begins anew.
    pub async fn pull(
        &self,
        resolved: &Resolved,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Vec<u8>, RegistryError> {
        let layer = &resolved.layer;
        if layer.size > ARCHIVE_BYTES_MAX as u64 {
            let why = format!("its component has {} bytes, and a package may have {ARCHIVE_BYTES_MAX}", layer.size);
            return Err(RegistryError::Unsuitable {
                registry: self.address().to_owned(),
                what: resolved.to_string(),
                why,
            });
        }
        let told = |failure: Failure| self.tell(failure, format!("the component of {resolved}"));
        let bytes = self.received(resolved, progress).await.map_err(told)?;
        let found = layer.digest.algorithm().digest(&bytes);
        if found != layer.digest {
            return Err(told(Failure::new(Kind::Damaged, format!("it is {found}, and not {}", layer.digest))));
        }
        Ok(bytes)
    }

    /// As many bytes as there should be, whatever they are.
    async fn received(&self, resolved: &Resolved, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Vec<u8>, Failure> {
        let image = &Image::new(&resolved.repository, resolved.digest.as_str());
        let mut attempts = Attempts::new(self, image, Operation::Pull);
        let mut bytes = Vec::new();
        let mut most = 0;
        let mut blob = None;
        loop {
            let come = match attempts.signed_in().await {
                Ok(()) => self.receive(image, &resolved.layer, &mut blob, &mut bytes, progress).await,
                Err(failure) => Err(failure),
            };
            let Err(failure) = come else { return Ok(bytes) };
            if bytes.len() > most {
                most = bytes.len();
                attempts.came_further();
            }
            attempts.next_after(failure).await?;
        }
    }

    /// One attempt at the bytes that are still missing. `known` is what the attempt before has left,
    /// with its connection.
    async fn receive(
        &self,
        image: &Image,
        layer: &Descriptor,
        known: &mut Option<Blob>,
        bytes: &mut Vec<u8>,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<(), Failure> {
        let authorization = self.authorization(image, Operation::Pull);
        let blob = match known.take() {
            Some(blob) if blob.is_requested_with(&authorization) => blob,
            _ => Blob::new(&self.http, &image.repository, &layer.digest, authorization).await?,
        };
        let offset = bytes.len() as u64;
        let mut answer = match in_time(known.insert(blob).request(offset)).await? {
            Some(BlobResponse::Partial(rest)) => rest,
            Some(BlobResponse::Full(all)) => {
                bytes.clear();
                all
            }
            None => return Err(self.refusal(image, layer, offset).await),
        };
        loop {
            let come = bytes.len() as u64;
            match tokio::time::timeout(SILENCE_MAX, answer.stream.next()).await {
                Ok(Some(Ok(piece))) if come + piece.len() as u64 > layer.size => return Err(too_much(layer)),
                Ok(Some(Ok(piece))) => {
                    bytes.extend_from_slice(&piece);
                    progress(bytes.len() as u64, layer.size);
                }
                // How an answer ends does not matter once all is there: `oci-client` reports its own check of the digest here.
                Ok(None | Some(Err(_))) if come == layer.size => return Ok(()),
                Ok(None | Some(Err(_))) => return Err(too_little(come, layer)),
                Err(_) => return Err(silence()),
            }
        }
    }

    /// What the registry says when it refuses the blob from `offset` on, which it has just done.
    async fn refusal(&self, image: &Image, layer: &Descriptor, offset: u64) -> Failure {
        let url = self.http.url(&image.path("blobs", layer.digest.as_str()));
        let sent = self.send(image, Operation::Pull, Method::GET, url, |request| match offset {
            0 => request,
            offset => request.header(RANGE, format!("bytes={offset}-")),
        });
        let answer = match in_time(sent).await {
            Ok(answer) => answer,
            Err(failure) => return failure,
        };
        match in_time(expect(answer, &[StatusCode::OK, StatusCode::PARTIAL_CONTENT])).await {
            Ok(_) => Failure::new(Kind::Passing, "it refused the bytes, and a moment later it did not"),
            Err(failure) => failure,
        }
    }
}

fn too_much(layer: &Descriptor) -> Failure {
    Failure::new(Kind::Damaged, format!("it has more than the {} bytes that its manifest says", layer.size))
}

/// A connection that breaks can look like the end of the answer, and the other way round: the next attempt tells.
fn too_little(come: u64, layer: &Descriptor) -> Failure {
    Failure::new(Kind::Passing, format!("the connection ended after {come} of {} bytes", layer.size))
}
