//! The package that the simulated cluster runs: lists to which values are appended. Every answer is the whole list, so a history
//! says exactly what each call saw.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use bytes::{BufMut, Bytes, BytesMut};
use recoil_package::Manifest;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What the package is installed by.
pub(crate) const NAME: &str = "lists";

const WORLD: &str = "package test:lists; world lists { include recoil:plugin/data-plugin@0.1.0; }";
const MANIFEST: &str = r#"{ "format": 1, "name": "lists", "version": "1.0.0", "permissions": ["storage"] }"#;

/// The package: a component with its manifest inside.
pub(crate) fn archive() -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")).context("reading wit/")?;
    let package = resolve.push_str("lists.wit", WORLD)?;
    let world = resolve.select_world(&[package], Some("lists"))?;
    let mut module = wat::parse_str(include_str!("guest.wat"))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    let component = ComponentEncoder::default().module(&module)?.validate(true).encode()?;
    let manifest = Manifest::from_json(MANIFEST.as_bytes()).map_err(|error| anyhow!("{error}"))?;
    recoil_package::embed(&component, &manifest).map_err(|error| anyhow!("{error}"))
}

/// A list, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(pub(crate) u8);

impl Key {
    /// Its bytes, which tell where it lives.
    pub(crate) fn bytes(self) -> Bytes {
        Bytes::copy_from_slice(&[b'k', b'0' + self.0])
    }
}

/// What is asked of the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Get,
    Append(u64),
    /// Appends and then says no: nothing may be left of it.
    Refused(u64),
}

/// The request's bytes.
pub(crate) fn request(key: Key, ask: Ask) -> Bytes {
    let (op, value) = match ask {
        Ask::Get => (b'g', 0),
        Ask::Append(value) => (b'a', value),
        Ask::Refused(value) => (b'r', value),
    };
    let mut request = BytesMut::new();
    request.put_u8(op);
    request.extend_from_slice(&key.bytes());
    request.put_u64(value);
    request.freeze()
}

/// The list in an answer; none if it is not one.
pub(crate) fn list(answer: &[u8]) -> Option<Vec<u64>> {
    let values = answer.chunks(8).map(|value| value.try_into().ok().map(u64::from_be_bytes));
    values.collect()
}
