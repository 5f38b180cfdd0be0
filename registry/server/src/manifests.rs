//! Manifests, referrers, and the catalog of repositories.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use recoil_oci::records::{Answer as Record, Command};
use recoil_oci::{Algorithm, Digest, IMAGE_INDEX_MEDIA_TYPE, MANIFEST_BYTES_MAX, Manifest, Reference, Repository, Tag};
use serde_json::json;

use crate::conditional::{entity_tag, unsent};
use crate::failure::{Code, Failure};
use crate::records::unexpected;
use crate::store::StoreError;
use crate::uploads::busy;
use crate::{Answer, Body, Head, Registry, TURN_TIMEOUT, answer, bare, builtin, parameter, parameters, set};

/// How long a manifest may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Repositories in a catalog, unless fewer are asked for.
const CATALOG_MAX: usize = 1_000;
/// Tags that one request may set.
const TAGS_MAX: usize = 100;

fn unknown(name: &Repository, reference: &Reference) -> Failure {
    Failure::not_found(Code::ManifestUnknown, format!("{name} has no manifest {reference}"))
}

/// How many a list is asked for, and after which; `usize::MAX` if it is asked for all.
pub(crate) fn page_of(request: &Head) -> Result<(usize, String), Failure> {
    let limit = match parameter(request, "n") {
        None => usize::MAX,
        Some(text) => text.parse().map_err(|_| Failure::bad_request(Code::Unsupported, "`n` is not a number"))?,
    };
    Ok((limit, parameter(request, "last").unwrap_or_default()))
}

impl Registry {
    /// A manifest: its digest, what is known of it, and its bytes if they are asked for.
    pub(crate) async fn find_manifest(
        &self,
        name: &Repository,
        reference: &Reference,
        body: bool,
    ) -> Result<Option<(Digest, Manifest, Bytes)>, StoreError> {
        if builtin::is_reserved(name) {
            return Ok(self.builtin.manifest(name, reference));
        }
        let find = Command::Manifest { repository: name.clone(), reference: reference.clone(), body };
        match self.records.ask_with(find, b"").await? {
            (Record::Manifest { digest, manifest }, bytes) => Ok(Some((digest, manifest, bytes))),
            (Record::Absent, _) => Ok(None),
            (other, _) => Err(unexpected(other)),
        }
    }

    /// `GET` and `HEAD …/manifests/REFERENCE`.
    pub(crate) async fn manifest(
        &self,
        name: &Repository,
        reference: &Reference,
        request: &Head,
    ) -> Result<Answer, Failure> {
        let found = self.find_manifest(name, reference, true).await?;
        let (digest, manifest, bytes) = found.ok_or_else(|| unknown(name, reference))?;
        if let Some(answer) = unsent(request, &digest)? {
            return Ok(answer);
        }
        let mut found = answer(StatusCode::OK, &manifest.media_type, bytes);
        set(&mut found, "docker-content-digest", digest.as_str());
        set(&mut found, "etag", entity_tag(&digest));
        Ok(found)
    }

    /// `PUT …/manifests/REFERENCE`.
    pub(crate) async fn put_manifest(
        &self,
        name: &Repository,
        reference: Reference,
        request: &Head,
        body: Body,
    ) -> Result<Answer, Failure> {
        self.records.store.prepare().await?;
        let media_type = match request.headers.get(CONTENT_TYPE).map(|value| value.to_str()) {
            None => None,
            Some(Ok(value)) => Some(value.split(';').next().unwrap_or(value).trim().to_owned()),
            Some(Err(_)) => return Err(Failure::bad_request(Code::ManifestInvalid, "the Content-Type is not text")),
        };
        let mut tags = parameters(request, "tag").map(|tag| tag.parse()).collect::<Result<Vec<Tag>, _>>()?;
        if tags.len() > TAGS_MAX {
            return Err(Failure::bad_request(Code::Unsupported, format!("at most {TAGS_MAX} tags can be set at once")));
        }
        let turn = tokio::time::timeout(TURN_TIMEOUT, self.manifests.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or_else(|| busy("manifests"))?;
        let bytes = whole(body).await?;
        let digest = match reference {
            Reference::Tag(tag) => {
                tags = vec![tag];
                Algorithm::Sha256.digest(&bytes)
            }
            Reference::Digest(digest) => {
                let found = digest.algorithm().digest(&bytes);
                if found != digest {
                    let why = format!("the manifest has the digest {found}, not {digest}");
                    return Err(Failure::bad_request(Code::DigestInvalid, why));
                }
                digest
            }
        };
        let manifest = Manifest::parse(&bytes, media_type.as_deref())?;
        let subject = manifest.subject.clone();
        let put =
            Command::PutManifest { repository: name.clone(), digest: digest.clone(), tags: tags.clone(), manifest };
        match self.records.ask_with(put, &bytes).await?.0 {
            Record::Done => {}
            Record::Missing { digest } => {
                let why = format!("the manifest needs the blob {digest}, which {name} does not have; push it first");
                return Err(Failure::bad_request(Code::ManifestBlobUnknown, why));
            }
            other => return Err(unexpected(other).into()),
        }
        let mut made = bare(StatusCode::CREATED);
        set(&mut made, "location", format!("/v2/{name}/manifests/{digest}"));
        set(&mut made, "docker-content-digest", digest.as_str());
        if let Some(subject) = subject {
            set(&mut made, "oci-subject", subject.as_str());
        }
        if !tags.is_empty() {
            let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
            set(&mut made, "oci-tag", tags.join(", "));
        }
        Ok(made)
    }

    /// `DELETE …/manifests/REFERENCE`: a tag alone, or a manifest with all its tags.
    pub(crate) async fn remove_manifest(&self, name: &Repository, reference: Reference) -> Result<Answer, Failure> {
        let remove = Command::RemoveManifest { repository: name.clone(), reference: reference.clone() };
        match self.records.ask(remove).await? {
            Record::Done => Ok(bare(StatusCode::ACCEPTED)),
            Record::Absent => Err(unknown(name, &reference)),
            other => Err(unexpected(other).into()),
        }
    }

    /// `GET …/referrers/DIGEST`.
    pub(crate) async fn referrers(
        &self,
        name: &Repository,
        subject: &Digest,
        request: &Head,
    ) -> Result<Answer, Failure> {
        let list = Command::Referrers { repository: name.clone(), subject: subject.clone() };
        let mut descriptors = match self.records.ask(list).await? {
            Record::Referrers { descriptors } => descriptors,
            Record::Absent => vec![],
            other => return Err(unexpected(other).into()),
        };
        let wanted = parameter(request, "artifactType");
        if let Some(wanted) = &wanted {
            descriptors.retain(|descriptor| descriptor.artifact_type.as_ref() == Some(wanted));
        }
        let index = json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX_MEDIA_TYPE, "manifests": descriptors });
        let mut list = answer(StatusCode::OK, IMAGE_INDEX_MEDIA_TYPE, index.to_string().into());
        if wanted.is_some() {
            set(&mut list, "oci-filters-applied", "artifactType");
        }
        Ok(list)
    }

    /// `GET /v2/_catalog`.
    pub(crate) async fn catalog(&self, request: &Head) -> Result<Answer, Failure> {
        let (limit, after) = page_of(request)?;
        // Names of repositories are lower-case, so byte order is case-insensitive order.
        let (limit, after) = (limit.min(CATALOG_MAX), after.to_ascii_lowercase());
        let mut names = self.repositories(&after).await?;
        names.extend(self.builtin.repositories().filter(|name| **name > *after).map(str::to_owned));
        names.sort();
        let more = names.len() > limit;
        names.truncate(limit);
        let mut list = crate::json(StatusCode::OK, &json!({ "repositories": names }));
        link_next(&mut list, "/v2/_catalog", limit, names.last().filter(|_| more));
        Ok(list)
    }

    /// The first page of every partition: at least the first [`PAGE_MAX`] of all.
    pub(crate) async fn repositories(&self, after: &str) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        for partition in 0..self.records.store.partitions() {
            match self.records.ask_partition(partition, Command::Repositories { after: after.to_owned() }).await? {
                Record::Repositories { names: found } => names.extend(found),
                Record::Absent => return Ok(vec![]),
                other => return Err(unexpected(other)),
            }
        }
        Ok(names)
    }
}

async fn whole(body: Body) -> Result<Bytes, Failure> {
    let read = Limited::new(body, MANIFEST_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let why = format!("the manifest is larger than {MANIFEST_BYTES_MAX} bytes, the most there may be");
            Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid, why))
        }
        Ok(Err(error)) => Err(Failure::bad_request(Code::ManifestInvalid, format!("the manifest broke off: {error}"))),
        Err(_) => {
            Err(Failure::new(StatusCode::REQUEST_TIMEOUT, Code::ManifestInvalid, "the manifest did not arrive in time"))
        }
    }
}

/// Says where the next page is.
pub(crate) fn link_next(list: &mut Answer, path: &str, limit: usize, last: Option<&String>) {
    if let Some(last) = last {
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("n", &limit.to_string())
            .append_pair("last", last)
            .finish();
        set(list, "link", format!("<{path}?{query}>; rel=\"next\""));
    }
}
