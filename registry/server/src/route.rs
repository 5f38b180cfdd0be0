//! Which operation a path means. Names of repositories contain slashes, so paths are read from their ends.

use hyper::StatusCode;
use recoil_oci::{Digest, InvalidName, Reference, Repository};

use crate::failure::{Code, Failure};
use crate::records::is_id;

/// Where tools of the Wasm world look for a registry of packages.
pub(crate) const WELL_KNOWN: &str = "/.well-known/wasm-pkg/registry.json";

/// An operation's object. What a path names last may be no digest or tag at all; what that means is the operation's to say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Base,
    Token,
    WellKnown,
    Catalog,
    Tags(Repository),
    Referrers(Repository, Result<Digest, InvalidName>),
    Manifest(Repository, Result<Reference, InvalidName>),
    Blob(Repository, Result<Digest, InvalidName>),
    Uploads(Repository),
    Upload(Repository, String),
}

impl Route {
    pub(crate) fn of(path: &str) -> Result<Self, Failure> {
        if path == WELL_KNOWN {
            return Ok(Route::WellKnown);
        }
        let unknown = || {
            let shown: String = path.chars().take(200).collect();
            let why = format!(
                "there is nothing at '{}'; the API is that of the OCI distribution specification",
                shown.escape_debug()
            );
            Failure::new(StatusCode::NOT_FOUND, Code::NameUnknown, why)
        };
        let rest = path.strip_prefix("/v2").ok_or_else(unknown)?;
        if rest.is_empty() || rest == "/" {
            return Ok(Route::Base);
        }
        let rest = rest.strip_prefix('/').ok_or_else(unknown)?;
        if rest == "token" {
            return Ok(Route::Token);
        }
        if rest == "_catalog" {
            return Ok(Route::Catalog);
        }
        let name = |name: &str| Ok::<Repository, Failure>(name.parse()?);
        if let Some(front) = rest.strip_suffix("/blobs/uploads").or_else(|| rest.strip_suffix("/blobs/uploads/")) {
            return Ok(Route::Uploads(name(front)?));
        }
        if let Some(front) = rest.strip_suffix("/tags/list") {
            return Ok(Route::Tags(name(front)?));
        }
        let (front, last) = rest.rsplit_once('/').ok_or_else(unknown)?;
        if let Some(front) = front.strip_suffix("/blobs/uploads") {
            let front = name(front)?;
            return match is_id(last) {
                true => Ok(Route::Upload(front, last.to_owned())),
                false => Err(Failure::not_found(Code::BlobUploadUnknown, "there is no such upload")),
            };
        }
        let (front, kind) = front.rsplit_once('/').ok_or_else(unknown)?;
        match kind {
            "manifests" => Ok(Route::Manifest(name(front)?, last.parse())),
            "blobs" => Ok(Route::Blob(name(front)?, last.parse())),
            "referrers" => Ok(Route::Referrers(name(front)?, last.parse())),
            _ => Err(unknown()),
        }
    }

    pub(crate) fn repository(&self) -> Option<&Repository> {
        match self {
            Route::Base | Route::Token | Route::WellKnown | Route::Catalog => None,
            Route::Tags(name)
            | Route::Referrers(name, _)
            | Route::Manifest(name, _)
            | Route::Blob(name, _)
            | Route::Uploads(name)
            | Route::Upload(name, _) => Some(name),
        }
    }

    /// What can be done with it.
    pub(crate) fn methods(&self) -> &'static str {
        match self {
            Route::Base | Route::Token | Route::WellKnown => "GET, HEAD",
            Route::Catalog | Route::Tags(_) | Route::Referrers(..) => "GET",
            Route::Manifest(..) => "GET, HEAD, PUT, DELETE",
            Route::Blob(..) => "GET, HEAD, DELETE",
            Route::Uploads(_) => "POST",
            Route::Upload(..) => "GET, HEAD, PATCH, PUT, DELETE",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_their_ends() {
        let name = || "blobs/uploads/manifests".parse::<Repository>().unwrap();
        let of = |path: &str| Route::of(path).unwrap();
        assert_eq!(of("/v2/"), Route::Base);
        assert_eq!(of("/v2/_catalog"), Route::Catalog);
        assert_eq!(of("/v2/token"), Route::Token);
        assert_eq!(of("/v2/blobs/uploads/manifests/tags/list"), Route::Tags(name()));
        assert_eq!(of("/v2/blobs/uploads/manifests/blobs/uploads/"), Route::Uploads(name()));
        let id = "0".repeat(32);
        assert_eq!(of(&format!("/v2/blobs/uploads/manifests/blobs/uploads/{id}")), Route::Upload(name(), id));
        assert_eq!(of("/v2/blobs/uploads/manifests/manifests/1.0"), Route::Manifest(name(), "1.0".parse()));
        assert!(matches!(of("/v2/a/manifests/sha256:bad"), Route::Manifest(_, Err(_))));
        assert!(matches!(of("/v2/a/blobs/x"), Route::Blob(_, Err(_))));
        for bad in
            ["/v1/", "/v2x", "/v2/a", "/v2/a/b/c", "/v2/A/tags/list", "/v2/a/blobs/uploads/../x", "/v2//tags/list"]
        {
            assert!(Route::of(bad).is_err(), "{bad}");
        }
    }
}
