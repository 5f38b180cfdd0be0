//! Repositories: links, manifests, tags and referrers.

use recoil_oci::records::{Answer, Command, LINK_WITHIN_US, Link, PAGE_MAX, REFERRERS_MAX};
use recoil_oci::{Digest, Manifest, Reference, Repository, Tag};
use recoil_sdk::encoding::{Key, KeyReader};
use recoil_sdk::{Entry, Error, KeyRange, StorageExt as _, Transaction};

use crate::{parse, read, write};

fn key(kind: u8, repository: &Repository) -> Key {
    Key::new(kind).bytes(repository.as_str().as_bytes())
}

fn row(kind: u8, repository: &Repository, last: &str) -> Vec<u8> {
    key(kind, repository).bytes(last.as_bytes()).finish()
}

pub(crate) fn carry_out(
    transaction: &mut dyn Transaction,
    command: Command,
    attachment: &[u8],
) -> Result<Answer, Error> {
    match command {
        Command::Link { repository, link } => {
            // Asked again after it had ended: the hold has ended with it.
            if transaction.get(&row(b'Z', &repository, &link.token))?.is_some() {
                return Ok(Answer::Stale);
            }
            if let Some(link) = touch(transaction, &repository, &link.digest)? {
                return Ok(Answer::Link { link });
            }
            if transaction.now_us() > link.since_us.saturating_add(LINK_WITHIN_US) {
                return Ok(Answer::Stale);
            }
            let row = row(b'B', &repository, link.digest.as_str());
            transaction.put(&key(b'R', &repository).finish(), &[])?;
            write(transaction, &row, &link)?;
            Ok(Answer::Link { link })
        }
        Command::Touch { repository, digest } => {
            let link = touch(transaction, &repository, &digest)?;
            Ok(link.map_or(Answer::Absent, |link| Answer::Link { link }))
        }
        Command::Find { repository, digest } => {
            let link = read(transaction, &row(b'B', &repository, digest.as_str()))?;
            Ok(link.map_or(Answer::Absent, |link| Answer::Link { link }))
        }
        Command::Unlink { repository, digest, token } => {
            let link = read::<Link>(transaction, &row(b'B', &repository, digest.as_str()))?;
            let Some(link) = link.filter(|link| token.is_none_or(|token| token == link.token)) else {
                return Ok(Answer::Absent);
            };
            unlink(transaction, &repository, &link)?;
            Ok(Answer::Link { link })
        }
        Command::Sweep { repository, before_us, after } => sweep(transaction, &repository, before_us, &after),
        Command::PutManifest { repository, digest, tags, manifest } => {
            put_manifest(transaction, &repository, digest, &tags, manifest, attachment)
        }
        Command::RemoveManifest { repository, reference } => match reference {
            Reference::Tag(tag) => remove_tag(transaction, &repository, &tag),
            Reference::Digest(digest) => remove_manifest(transaction, &repository, &digest),
        },
        Command::Tags { repository, after, limit } => tags(transaction, &repository, &after, limit.min(PAGE_MAX)),
        Command::Referrers { repository, subject } => {
            let prefix = row(b'F', &repository, subject.as_str());
            let found = transaction.entries(KeyRange::prefix(&prefix)).take(REFERRERS_MAX);
            let descriptors = found.map(|entry| parse(&entry?.value)).collect::<Result<_, _>>()?;
            Ok(Answer::Referrers { descriptors })
        }
        Command::Repositories { after } => {
            let mut within = KeyRange::prefix(b"R");
            if !after.is_empty() {
                within.start = Key::new(b'R').bytes(after.as_bytes()).finish();
                within.start.push(0);
            }
            let page = transaction.scan(&within, PAGE_MAX, false)?;
            let names = page.iter().map(|entry| last_part(entry, 0)).collect::<Result<_, _>>()?;
            Ok(Answer::Repositories { names })
        }
        other => Err(Error::new(format!("not a command about a repository: {other:?}"))),
    }
}

/// The link of a blob that somebody counts on, young again.
fn touch(transaction: &mut dyn Transaction, repository: &Repository, digest: &Digest) -> Result<Option<Link>, Error> {
    let row = row(b'B', repository, digest.as_str());
    let Some(link) = read::<Link>(transaction, &row)? else { return Ok(None) };
    let link = Link { since_us: transaction.now_us(), ..link };
    write(transaction, &row, &link)?;
    Ok(Some(link))
}

/// Ends a link, and remembers that for as long as somebody may ask for it again.
fn unlink(transaction: &mut dyn Transaction, repository: &Repository, link: &Link) -> Result<(), Error> {
    transaction.remove(&row(b'B', repository, link.digest.as_str()))?;
    let now_us = transaction.now_us();
    write(transaction, &row(b'Z', repository, &link.token), &now_us)
}

/// The part of an entry's key behind its kind and `skipped` parts.
fn last_part(entry: &Entry, skipped: usize) -> Result<String, Error> {
    let (_, mut reader) = KeyReader::new(&entry.key)?;
    for _ in 0..skipped {
        reader.bytes()?;
    }
    String::from_utf8(reader.bytes()?).map_err(|_| Error::new("a key that is not text"))
}

/// A manifest, and its bytes into `body`, if they are asked for.
pub(crate) fn manifest(
    transaction: &dyn Transaction,
    repository: &Repository,
    reference: &Reference,
    body: Option<&mut Vec<u8>>,
) -> Result<Answer, Error> {
    let digest = match reference {
        Reference::Digest(digest) => Some(digest.clone()),
        Reference::Tag(tag) => read(transaction, &row(b'T', repository, tag.as_str()))?,
    };
    let Some(digest) = digest else { return Ok(Answer::Absent) };
    let Some(manifest) = read(transaction, &row(b'M', repository, digest.as_str()))? else { return Ok(Answer::Absent) };
    if let Some(body) = body {
        let bytes = transaction.get(&row(b'N', repository, digest.as_str()))?;
        *body = bytes.ok_or_else(|| Error::new("a manifest without its bytes"))?;
    }
    Ok(Answer::Manifest { digest, manifest })
}

fn needs_row(repository: &Repository, blob: &Digest, manifest: &Digest) -> Vec<u8> {
    key(b'X', repository).bytes(blob.as_str().as_bytes()).bytes(manifest.as_str().as_bytes()).finish()
}

fn referrer_row(repository: &Repository, subject: &Digest, digest: &Digest) -> Vec<u8> {
    key(b'F', repository).bytes(subject.as_str().as_bytes()).bytes(digest.as_str().as_bytes()).finish()
}

fn put_manifest(
    transaction: &mut dyn Transaction,
    repository: &Repository,
    digest: Digest,
    tags: &[Tag],
    manifest: Manifest,
    bytes: &[u8],
) -> Result<Answer, Error> {
    let links: Vec<Vec<u8>> = manifest.blobs.iter().map(|blob| row(b'B', repository, blob.as_str())).collect();
    let found = transaction.get_many(&links)?;
    if let Some(missing) = found.iter().position(Option::is_none) {
        return Ok(Answer::Missing { digest: manifest.blobs[missing].clone() });
    }
    transaction.put(&key(b'R', repository).finish(), &[])?;
    for blob in &manifest.blobs {
        transaction.put(&needs_row(repository, blob, &digest), &[])?;
    }
    write(transaction, &row(b'M', repository, digest.as_str()), &manifest)?;
    transaction.put(&row(b'N', repository, digest.as_str()), bytes)?;
    for tag in tags {
        write(transaction, &row(b'T', repository, tag.as_str()), &digest)?;
    }
    if let Some(subject) = manifest.subject.clone() {
        let row = referrer_row(repository, &subject, &digest);
        write(transaction, &row, &manifest.descriptor(digest))?;
    }
    Ok(Answer::Done)
}

fn remove_tag(transaction: &mut dyn Transaction, repository: &Repository, tag: &Tag) -> Result<Answer, Error> {
    let row = row(b'T', repository, tag.as_str());
    if transaction.get(&row)?.is_none() {
        return Ok(Answer::Absent);
    }
    transaction.remove(&row)?;
    Ok(Answer::Done)
}

fn remove_manifest(
    transaction: &mut dyn Transaction,
    repository: &Repository,
    digest: &Digest,
) -> Result<Answer, Error> {
    let known = row(b'M', repository, digest.as_str());
    let Some(manifest) = read::<Manifest>(transaction, &known)? else { return Ok(Answer::Absent) };
    transaction.remove(&known)?;
    transaction.remove(&row(b'N', repository, digest.as_str()))?;
    for blob in &manifest.blobs {
        transaction.remove(&needs_row(repository, blob, digest))?;
    }
    if let Some(subject) = &manifest.subject {
        transaction.remove(&referrer_row(repository, subject, digest))?;
    }
    let mut pointing = Vec::new();
    for entry in transaction.entries(KeyRange::prefix(&key(b'T', repository).finish())) {
        let entry = entry?;
        if parse::<Digest>(&entry.value)? == *digest {
            pointing.push(entry.key);
        }
    }
    for tag in pointing {
        transaction.remove(&tag)?;
    }
    Ok(Answer::Done)
}

fn tags(transaction: &dyn Transaction, repository: &Repository, after: &str, limit: u32) -> Result<Answer, Error> {
    if transaction.get(&key(b'R', repository).finish())?.is_none() {
        return Ok(Answer::Absent);
    }
    let mut within = KeyRange::prefix(&key(b'T', repository).finish());
    if !after.is_empty() {
        within.start = row(b'T', repository, after);
        within.start.push(0);
    }
    let mut tags = Vec::new();
    for entry in transaction.entries(within).take(limit as usize + 1) {
        tags.push(last_part(&entry?, 1)?);
    }
    let more = tags.len() > limit as usize;
    tags.truncate(limit as usize);
    Ok(Answer::Tags { tags, more })
}

fn sweep(
    transaction: &mut dyn Transaction,
    repository: &Repository,
    before_us: u64,
    after: &str,
) -> Result<Answer, Error> {
    let mut within = KeyRange::prefix(&key(b'B', repository).finish());
    if !after.is_empty() {
        within.start = row(b'B', repository, after);
        within.start.push(0);
    }
    let (mut links, mut next) = (Vec::new(), None);
    if after.is_empty() {
        forget_ended(transaction, repository)?;
    }
    for entry in transaction.scan(&within, PAGE_MAX, false)? {
        let link: Link = parse(&entry.value)?;
        next = Some(link.digest.clone());
        let needs = key(b'X', repository).bytes(link.digest.as_str().as_bytes()).finish();
        if link.since_us < before_us && transaction.scan(&KeyRange::prefix(&needs), 1, false)?.is_empty() {
            unlink(transaction, repository, &link)?;
            links.push(link);
        }
    }
    Ok(Answer::Links { links, next })
}

/// Links that ended so long ago that nobody asks for them again.
fn forget_ended(transaction: &mut dyn Transaction, repository: &Repository) -> Result<(), Error> {
    let now_us = transaction.now_us();
    for entry in transaction.scan(&KeyRange::prefix(&key(b'Z', repository).finish()), PAGE_MAX, false)? {
        if now_us > parse::<u64>(&entry.value)?.saturating_add(2 * LINK_WITHIN_US) {
            transaction.remove(&entry.key)?;
        }
    }
    Ok(())
}
