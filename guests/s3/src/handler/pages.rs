//! Walking a shard for a list: objects, versions, or uploads.
//!
//! A walk begins at a place, skips each common prefix at once when it has met it, and stops after
//! as many results as were asked for or [`ROWS_MAX`] rows; it says where to go on. The delimiter is
//! applied here and not by whoever merges the shards, so that a prefix with a million keys costs
//! one seek.

use recoil_sdk::storage::prefix_end;
use recoil_sdk::{Error, KeyRange, StorageExt as _, Transaction};
use s3s::S3ErrorCode;

use super::read;
use crate::data::command::{Answer, Behind, Item, Listing, Page, VersionName, refuse};
use crate::data::keys;
use crate::data::policy::{Caller, Question};
use crate::data::rows::{self, Bucket, Place, Upload, Version};

/// Rows that a walk looks at.
const ROWS_MAX: usize = 2000;

pub(super) fn walk(
    transaction: &dyn Transaction,
    place: &Place,
    bucket: &Bucket,
    caller: &Caller,
    page: &Page,
) -> Result<Answer, Error> {
    let action = match page.listing {
        Listing::Objects => "s3:ListBucket",
        Listing::Versions => "s3:ListBucketVersions",
        Listing::Uploads => "s3:ListBucketMultipartUploads",
    };
    let question = Question { bucket, caller, action, key: None, object: None, now_us: transaction.now_us() };
    if !question.may() {
        return Err(refuse(S3ErrorCode::AccessDenied, &format!("you are not allowed to {action} here")));
    }
    let mut walk = Walk { transaction, place, page, items: Vec::new(), rows: 0 };
    let next = walk.run()?;
    Ok(Answer::Items { items: walk.items, next })
}

/// Where to go on: names from there, and of the first of them what comes behind.
type Next = (Vec<u8>, Option<Behind>);

struct Walk<'a> {
    transaction: &'a dyn Transaction,
    place: &'a Place,
    page: &'a Page,
    items: Vec<Item>,
    rows: usize,
}

/// What a step over one key comes to.
enum Step {
    /// On to the next key.
    Next,
    /// Past a common prefix.
    Past(String),
    /// No more on this page.
    Full(Next),
}

impl Walk<'_> {
    fn run(&mut self) -> Result<Option<Next>, Error> {
        let prefix = self.page.prefix.as_bytes();
        let (mut start, mut behind) = (self.page.start.clone(), self.page.behind);
        if start.as_slice() < prefix {
            (start, behind) = (prefix.to_vec(), None);
        }
        loop {
            let Some(step) = self.walk_from(&start, behind)? else { return Ok(None) };
            match step {
                Step::Full(next) => return Ok(Some(next)),
                Step::Past(common) => match prefix_end(common.as_bytes()) {
                    Some(end) => (start, behind) = (end, None),
                    None => return Ok(None),
                },
                Step::Next => return Err(Error::new("a walk ended where it should have gone on")),
            }
        }
    }

    /// Walks until there is something to decide; none at the end.
    fn walk_from(&mut self, start: &[u8], behind: Option<Behind>) -> Result<Option<Step>, Error> {
        match self.page.listing {
            Listing::Objects => {
                let mut within = keys::all(b'O', self.place);
                within.start = keys::current(self.place, start);
                for entry in self.transaction.entries(within) {
                    let entry = entry?;
                    let key = text(keys::current_key(&entry.key))?;
                    let item = |version| Item::Object { key: key.clone(), version };
                    match self.step(&key, None, || Ok(vec![item(rows::decode(&entry.value)?)]))? {
                        Step::Next => {}
                        step => return Ok(Some(step)),
                    }
                    if !key.starts_with(&self.page.prefix) {
                        return Ok(None);
                    }
                }
                Ok(None)
            }
            Listing::Uploads => self.uploads(start, behind),
            Listing::Versions => self.versions(start, behind),
        }
    }

    /// One key: whether it is behind the prefix, part of a common prefix, or there is room for it.
    fn step(
        &mut self,
        key: &str,
        behind: Option<Behind>,
        items: impl FnOnce() -> Result<Vec<Item>, Error>,
    ) -> Result<Step, Error> {
        let Some(rest) = key.strip_prefix(self.page.prefix.as_str()) else { return Ok(Step::Next) };
        self.rows += 1;
        if self.items.len() >= self.page.limit as usize || self.rows > ROWS_MAX {
            return Ok(Step::Full((key.as_bytes().to_vec(), behind)));
        }
        let delimiter = self.page.delimiter.as_str();
        if !delimiter.is_empty()
            && let Some(at) = rest.find(delimiter)
        {
            let common = &key[..self.page.prefix.len() + at + delimiter.len()];
            self.items.push(Item::Prefix(common.to_owned()));
            return Ok(Step::Past(common.to_owned()));
        }
        self.items.extend(items()?);
        Ok(Step::Next)
    }

    fn uploads(&mut self, start: &[u8], behind: Option<Behind>) -> Result<Option<Step>, Error> {
        for entry in self.transaction.entries(keys::ordered_from(b'U', self.place, start)) {
            let upload: Upload = rows::decode(&entry?.value)?;
            if let Some(Behind::Upload(last)) = behind
                && upload.key.as_bytes() == start
                && upload.id <= last
            {
                continue;
            }
            if !upload.key.starts_with(&self.page.prefix) {
                return Ok(None);
            }
            let key = upload.key.clone();
            // Of a key that the page ends within, what was shown is named by the item before.
            let last = self.items.last().and_then(|item| match item {
                Item::Upload { key: other, upload } if *other == key => Some(Behind::Upload(upload.id)),
                _ => behind.filter(|_| key.as_bytes() == start),
            });
            let item = Item::Upload { key: key.clone(), upload: Box::new(upload) };
            match self.step(&key, last, || Ok(vec![item]))? {
                Step::Next => {}
                step => return Ok(Some(step)),
            }
        }
        Ok(None)
    }

    fn versions(&mut self, start: &[u8], behind: Option<Behind>) -> Result<Option<Step>, Error> {
        let mut current_range: KeyRange = keys::all(b'O', self.place);
        current_range.start = keys::current(self.place, start);
        let mut currents = self.transaction.entries(current_range).peekable();
        let mut olders = self.transaction.entries(keys::ordered_from(b'V', self.place, start)).peekable();
        let after_us = self.after(start, behind)?;
        loop {
            let current_key = match currents.peek() {
                Some(Ok(entry)) => Some(keys::current_key(&entry.key).to_vec()),
                Some(Err(error)) => return Err(error.clone().into()),
                None => None,
            };
            let older_key = match olders.peek() {
                Some(Ok(entry)) => {
                    Some(keys::ordered_key(&entry.key).ok_or_else(|| Error::new("a damaged key of a version"))?)
                }
                Some(Err(error)) => return Err(error.clone().into()),
                None => None,
            };
            let is_current = match (&current_key, &older_key) {
                (None, None) => return Ok(None),
                (Some(current), Some(older)) => current <= older,
                (current, _) => current.is_some(),
            };
            let taken = if is_current { currents.next() } else { olders.next() };
            let (Some(Ok(entry)), Some(key)) = (taken, if is_current { current_key } else { older_key }) else {
                return Ok(None);
            };
            let version: Version = rows::decode(&entry.value)?;
            let key = text(&key)?;
            if key.as_bytes() == start && after_us.is_some_and(|after_us| version.time_us >= after_us) {
                continue;
            }
            if !key.starts_with(&self.page.prefix) {
                return Ok(None);
            }
            let last = self.items.last().and_then(|item| match item {
                Item::Version { key: other, version, .. } if *other == key => {
                    Some(Behind::Version(VersionName::of(version)))
                }
                _ => behind.filter(|_| key.as_bytes() == start),
            });
            let latest = is_current || (version.marker && self.is_first(&key, &version)?);
            let item = Item::Version { key: key.clone(), version, latest };
            match self.step(&key, last, || Ok(vec![item]))? {
                Step::Next => {}
                step => return Ok(Some(step)),
            }
        }
    }

    /// Of the key `start`, only versions older than this.
    fn after(&self, start: &[u8], behind: Option<Behind>) -> Result<Option<u64>, Error> {
        match behind {
            Some(Behind::Version(VersionName::Id(_, time_us))) => Ok(Some(time_us)),
            Some(Behind::Version(VersionName::Null)) => {
                if let Some(time_us) = read(self.transaction, &keys::null(self.place, start))? {
                    return Ok(Some(time_us));
                }
                // One that is gone says nothing: the key is shown again rather than left out.
                let current: Option<Version> = read(self.transaction, &keys::current(self.place, start))?;
                Ok(current.filter(|current| current.null).map(|current| current.time_us))
            }
            _ => Ok(None),
        }
    }

    /// Whether a delete marker is its key's newest version.
    fn is_first(&self, key: &str, version: &Version) -> Result<bool, Error> {
        if self.transaction.get(&keys::current(self.place, key.as_bytes()))?.is_some() {
            return Ok(false);
        }
        let first = self.transaction.scan(&keys::older_of(self.place, key.as_bytes()), 1, false)?;
        Ok(first.first().is_some_and(|entry| entry.key == keys::older(self.place, key.as_bytes(), version.time_us)))
    }
}

fn text(key: &[u8]) -> Result<String, Error> {
    String::from_utf8(key.to_vec()).map_err(|_| Error::new("a key that is not UTF-8"))
}
