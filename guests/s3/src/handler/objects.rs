//! Versions: put, get, delete.
//!
//! The current version of a key is the row `O`, unless that version is a delete marker; what is
//! older, and markers, are rows `V`, newest first. So a bucket whose versioning was never on has no
//! `V`, turning versioning on moves nothing, and lists of objects never meet a delete marker.
//! Invariants: the time of `O` is later than every time in `V`; if there is no `O`, the first `V`
//! of the key, if there is one, is a marker; a version named null in `V` has its row `N`; every
//! version has its row `H`.

use recoil_sdk::Error;
use s3s::S3ErrorCode;

use super::{Context, lifecycle, read, space, write};
use crate::data::access::{Acl, Owner};
use crate::data::command::{Answer, Bytes, Condition, Found, NewVersion, VersionName, Wanted, refuse};
use crate::data::keys;
use crate::data::policy::{Caller, Object, Question};
use crate::data::rows::{
    self, Details, ETag, Id, LockMode, Piece, Retention, SEGMENT_PIECES, Storage, Sum, Version, Versioning,
};

/// Pieces of one answer.
const PIECES_MAX: usize = SEGMENT_PIECES;

/// A version that is going to be written, with its bytes where they will be.
pub(super) struct Written {
    pub(super) details: Details,
    pub(super) manifest: Vec<Piece>,
    pub(super) inline: Vec<u8>,
    pub(super) parts: Vec<rows::PartRow>,
}

impl Context<'_> {
    fn may(&self, caller: &Caller, action: &str, key: Option<&str>, object: Option<Object<'_>>) -> bool {
        Question { bucket: &self.bucket, caller, action, key, object, now_us: self.transaction.now_us() }.may()
    }

    /// Refuses what the caller may not do to the key.
    pub(super) fn must(&self, action: &str) -> Result<(), Error> {
        self.allowed(self.may(&self.caller, action, Some(&self.key), None), action)
    }

    /// Refuses what the caller may not do to an object that is there.
    pub(super) fn must_to(&self, action: &str, details: &Details) -> Result<(), Error> {
        let attributes = &details.attributes;
        let (owner, acl) = (details.version.owner.as_ref(), attributes.acl.as_ref());
        self.must_to_object(action, Object { owner, acl, tags: &attributes.tags })
    }

    pub(super) fn must_to_object(&self, action: &str, object: Object<'_>) -> Result<(), Error> {
        self.allowed(self.may(&self.caller, action, Some(&self.key), Some(object)), action)
    }

    fn allowed(&self, allowed: bool, action: &str) -> Result<(), Error> {
        if allowed {
            return Ok(());
        }
        Err(refuse(S3ErrorCode::AccessDenied, &format!("you are not allowed to {action} here")))
    }

    /// Whose a new object is; none for the bucket's owner.
    pub(super) fn new_owner(&self, acl: Option<&Acl>) -> Option<Owner> {
        let user = self.caller.user.as_ref()?;
        let ownership = self.bucket.configuration.ownership.as_deref();
        // A key that was made for a bucket acts for the bucket's owner.
        let is_bucket_owners = user.owner.id == self.bucket.owner.id
            || user.is_granted(&self.bucket.name)
            || self.bucket.configuration.has_no_acls()
            || (ownership == Some("BucketOwnerPreferred")
                && acl.is_some_and(|acl| acl.gives_all_to(&self.bucket.owner)));
        (!is_bucket_owners).then(|| user.owner.clone())
    }

    pub(super) fn current(&self) -> Result<Option<Version>, Error> {
        read(self.transaction, &keys::current(&self.place, self.key.as_bytes()))
    }

    /// The newest of the older versions and markers.
    fn newest_older(&self) -> Result<Option<Version>, Error> {
        let page = self.transaction.scan(&keys::older_of(&self.place, self.key.as_bytes()), 1, false)?;
        page.first().map(|entry| rows::decode(&entry.value)).transpose()
    }

    pub(super) fn details(&self, version: &Id) -> Result<Option<Details>, Error> {
        let details: Option<Details> = read(self.transaction, &keys::details(version))?;
        Ok(details.filter(|details| details.place == self.place && details.key == self.key))
    }

    /// Refuses a write whose condition the current version does not meet.
    pub(super) fn check(&self, condition: &Condition, current: Option<&Version>) -> Result<(), Error> {
        let failed = |why: &str| {
            refuse(
                S3ErrorCode::PreconditionFailed,
                &format!("At least one of the pre-conditions you specified did not hold: {why}"),
            )
        };
        match (&condition.matches, current) {
            (Some(_), None) => {
                return Err(refuse(S3ErrorCode::NoSuchKey, "If-Match was given, and there is no such key"));
            }
            (Some(etag), Some(current)) if etag != "*" && *etag != current.etag.text() => {
                return Err(failed("If-Match is another ETag"));
            }
            _ => {}
        }
        if let Some(current) = current {
            if condition.size.is_some_and(|size| size != current.size) {
                return Err(failed("x-amz-if-match-size is another size"));
            }
            if condition.modified_s.is_some_and(|at_s| at_s != (current.time_us / 1_000_000) as i64) {
                return Err(failed("x-amz-if-match-last-modified-time is another time"));
            }
        }
        if let (Some(etag), Some(current)) = (&condition.none_matches, current) {
            if etag == "*" {
                return Err(failed("If-None-Match is *, and the key exists"));
            }
            if *etag == current.etag.text() {
                return Err(failed("If-None-Match is the ETag"));
            }
        }
        Ok(())
    }

    pub(super) fn put(&mut self, new: NewVersion, attached: &[u8]) -> Result<Answer, Error> {
        if let Some(details) = self.details(&new.id)? {
            return Ok(Answer::Written { details: Box::new(details) });
        }
        self.must("s3:PutObject")?;
        self.check(&new.condition, self.current()?.as_ref())?;
        let etag = ETag { md5: new.md5, parts: None };
        let (inline, manifest) = match new.bytes {
            Bytes::Attached if attached.len() as u64 != new.size => {
                return Err(Error::new("the bytes of a version are not all there"));
            }
            Bytes::Attached => (attached.to_vec(), vec![]),
            Bytes::Content(content) => (vec![], vec![self.take(&content, new.size)?]),
        };
        let owner = self.new_owner(new.attributes.acl.as_ref());
        let details = self.new_details(new.id, etag, new.size, owner, new.attributes, new.checksum)?;
        let written = Written { details, manifest, inline, parts: vec![] };
        self.write_version(written)
    }

    pub(super) fn new_details(
        &self,
        id: Id,
        etag: ETag,
        size: u64,
        owner: Option<Owner>,
        mut attributes: rows::Attributes,
        checksum: Option<Sum>,
    ) -> Result<Details, Error> {
        let configuration = &self.bucket.configuration;
        let time_us = self.transaction.now_us();
        if !configuration.lock && (attributes.retention.is_some() || attributes.legal_hold) {
            return Err(refuse(S3ErrorCode::InvalidRequest, "Bucket is missing Object Lock Configuration"));
        }
        if let Some(acl) = attributes.acl.take() {
            if let Some((code, why)) = self.bucket.acl_refusal(&acl) {
                return Err(refuse(code, why));
            }
            let acl = acl.of_owner(owner.as_ref().unwrap_or(&self.bucket.owner));
            let is_for_bucket = self.caller.user.as_ref().is_some_and(|user| user.is_granted(&self.bucket.name));
            if is_for_bucket && acl.is_shared() {
                self.must("s3:PutObjectAcl")?;
            }
            attributes.acl = (acl != Acl::default()).then_some(acl);
        }
        if attributes.retention.is_none()
            && let Some(default) = configuration.default_retention
        {
            let until_us =
                time_us + u64::from(default.days) * lifecycle::DAY_US * if default.in_years { 365 } else { 1 };
            attributes.retention = Some(Retention { mode: default.mode, until_us });
        }
        let kind = checksum.as_ref().map(|sum| (sum.algorithm, sum.composite.is_some()));
        let null = configuration.versioning != Versioning::Enabled;
        let version = Version { id, null, marker: false, size, etag, time_us, checksum: kind, owner };
        let (key, storage) = (self.key.clone(), Storage::Inline);
        Ok(Details { place: self.place, key, version, attributes, checksum, storage, parts: None })
    }

    /// Makes a version the current one, and lets go of what it replaces.
    pub(super) fn write_version(&mut self, written: Written) -> Result<Answer, Error> {
        let Written { mut details, manifest, inline, parts } = written;
        let id = details.version.id;
        self.make_way()?;
        if !manifest.is_empty() {
            let mut starts = Vec::new();
            let mut from = 0;
            for (number, pieces) in manifest.chunks(SEGMENT_PIECES).enumerate() {
                starts.push(from);
                from += pieces.iter().map(|piece| piece.length).sum::<u64>();
                write(self.transaction, &keys::segment(&id, number as u32), &pieces)?;
            }
            details.storage = Storage::Chunks { starts };
        }
        if !inline.is_empty() {
            self.transaction.put(&keys::inline(&id), &inline)?;
        }
        if !parts.is_empty() {
            details.parts = Some(parts.len() as u32);
            write(self.transaction, &keys::parts(&id), &parts)?;
        }
        write(self.transaction, &keys::details(&id), &details)?;
        write(self.transaction, &keys::current(&self.place, self.key.as_bytes()), &details.version)?;
        Ok(Answer::Written { details: Box::new(details) })
    }

    /// Before a new version or marker: moves the current version, or frees it, as the bucket's
    /// versioning says.
    fn make_way(&mut self) -> Result<(), Error> {
        let key = self.key.clone().into_bytes();
        let keeps = self.bucket.configuration.versioning == Versioning::Enabled;
        if let Some(current) = self.current()? {
            if current.null && !keeps {
                self.free_version(&current.id)?;
            } else {
                write(self.transaction, &keys::older(&self.place, &key, current.time_us), &current)?;
                if current.null {
                    write(self.transaction, &keys::null(&self.place, &key), &current.time_us)?;
                }
            }
            self.transaction.remove(&keys::current(&self.place, &key))?;
        }
        if !keeps && let Some(time_us) = read::<u64>(self.transaction, &keys::null(&self.place, &key))? {
            let row = keys::older(&self.place, &key, time_us);
            if let Some(null) = read::<Version>(self.transaction, &row)? {
                self.free_version(&null.id)?;
            }
            self.transaction.remove(&row)?;
            self.transaction.remove(&keys::null(&self.place, &key))?;
        }
        Ok(())
    }

    /// Removes what there is of a version beside its row in the lists.
    fn free_version(&mut self, id: &Id) -> Result<(), Error> {
        let Some(details) = read::<Details>(self.transaction, &keys::details(id))? else { return Ok(()) };
        self.transaction.remove(&keys::details(id))?;
        if details.parts.is_some() {
            self.transaction.remove(&keys::parts(id))?;
        }
        match details.storage {
            Storage::Inline if details.version.size > 0 => Ok(self.transaction.remove(&keys::inline(id))?),
            Storage::Inline => Ok(()),
            Storage::Chunks { starts } => space::free(self.transaction, id, Some(starts.len() as u32), vec![]),
        }
    }

    /// The version that a name means, and its details.
    pub(super) fn named(&self, name: VersionName) -> Result<Option<Details>, Error> {
        let id = match name {
            VersionName::Id(id, _) => id,
            VersionName::Null => {
                if let Some(current) = self.current()?.filter(|current| current.null) {
                    current.id
                } else {
                    let time_us: Option<u64> = read(self.transaction, &keys::null(&self.place, self.key.as_bytes()))?;
                    let Some(time_us) = time_us else { return Ok(None) };
                    let row = keys::older(&self.place, self.key.as_bytes(), time_us);
                    let Some(null) = read::<Version>(self.transaction, &row)? else { return Ok(None) };
                    null.id
                }
            }
        };
        Ok(self.details(&id)?.filter(|details| VersionName::of(&details.version) == name))
    }

    /// The version that a request is about; else the answer that says why there is none.
    pub(super) fn find(&self, name: Option<VersionName>) -> Result<Result<Details, Answer>, Error> {
        let Some(name) = name else {
            if let Some(current) = self.current()? {
                let damaged = || Error::new(format!("the details of the version {:02x?} are missing", current.id));
                return Ok(Ok(self.details(&current.id)?.ok_or_else(damaged)?));
            }
            return match self.newest_older()? {
                Some(version) if version.marker => Ok(Err(Answer::Marker { version, named: false })),
                _ => Ok(Err(Answer::Absent)),
            };
        };
        match self.named(name)? {
            Some(details) if details.version.marker => {
                Ok(Err(Answer::Marker { version: details.version, named: true }))
            }
            Some(details) => Ok(Ok(details)),
            None => Err(refuse(S3ErrorCode::NoSuchVersion, "The specified version does not exist.")),
        }
    }

    /// What somebody who may not see whether a key exists is told instead of its absence.
    pub(super) fn must_see_absence(&self) -> Result<(), Error> {
        let caller = self.caller.clone().with("s3:prefix", &self.key);
        if self.may(&caller, "s3:ListBucket", None, None) {
            return Ok(());
        }
        Err(refuse(S3ErrorCode::AccessDenied, "Access Denied"))
    }

    pub(super) fn get(
        &mut self,
        action: Option<&str>,
        name: Option<VersionName>,
        part: Option<u16>,
        wanted: Wanted,
        with_parts: bool,
        out: &mut Vec<u8>,
    ) -> Result<Answer, Error> {
        let details = match self.find(name)? {
            Ok(details) => details,
            Err(answer) => {
                self.must_see_absence()?;
                return Ok(answer);
            }
        };
        let action = action.unwrap_or(if name.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" });
        self.must_to(action, &details)?;
        let id = details.version.id;
        let size = details.version.size;
        let mut parts: Vec<rows::PartRow> = vec![];
        if (with_parts || part.is_some()) && details.parts.is_some() {
            parts = read(self.transaction, &keys::parts(&id))?.unwrap_or_default();
        }
        let (mut range, mut outside) = ((0, size), false);
        if let Some(number) = part {
            range = part_range(&parts, number, size)?;
        } else if let Wanted::Range(wanted) = wanted {
            match wanted.of(size) {
                Some(found) => range = found,
                None => outside = true,
            }
        }
        let (mut pieces, mut pieces_from) = (vec![], 0);
        let has_body = wanted != Wanted::Nothing && !outside && range.0 < range.1;
        match &details.storage {
            Storage::Inline if has_body => {
                let bytes = self.transaction.get(&keys::inline(&id))?.unwrap_or_default();
                let (start, end) = (range.0 as usize, range.1 as usize);
                let damaged = || Error::new(format!("the bytes of the version {id:02x?} are not all there"));
                *out = bytes.get(start..end).ok_or_else(damaged)?.to_vec();
            }
            Storage::Chunks { starts } if has_body => {
                (pieces_from, pieces) = self.pieces(&id, starts, range.0)?;
            }
            _ => {}
        }
        if !with_parts {
            parts.clear();
        }
        Ok(Answer::Found(Box::new(Found { details, range, outside, pieces_from, pieces, parts })))
    }

    pub(super) fn manifest(&self, version: &Id, from: u64) -> Result<Answer, Error> {
        // Whoever reads on was allowed to begin. A version that was removed meanwhile keeps its
        // manifest for a while.
        let mut number = 0;
        let mut start = 0;
        while let Some(pieces) = read::<Vec<Piece>>(self.transaction, &keys::segment(version, number))? {
            let length: u64 = pieces.iter().map(|piece| piece.length).sum();
            if from < start + length {
                let (from, pieces) = skip(start, pieces, from);
                return Ok(Answer::Pieces { from, pieces });
            }
            start += length;
            number += 1;
        }
        Ok(Answer::Absent)
    }

    /// The pieces of a manifest from the one on that holds the byte `from`, at most to the end of a
    /// segment.
    fn pieces(&self, id: &Id, starts: &[u64], from: u64) -> Result<(u64, Vec<Piece>), Error> {
        let number = starts.partition_point(|start| *start <= from).saturating_sub(1);
        let start = starts.get(number).copied().unwrap_or(0);
        let pieces: Option<Vec<Piece>> = read(self.transaction, &keys::segment(id, number as u32))?;
        let damaged = || Error::new(format!("the manifest of the version {id:02x?} is not all there"));
        Ok(skip(start, pieces.ok_or_else(damaged)?, from))
    }

    pub(super) fn delete(
        &mut self,
        name: Option<VersionName>,
        marker: Id,
        condition: &Condition,
        bypass: bool,
    ) -> Result<Answer, Error> {
        let current = self.current()?;
        let Some(name) = name else {
            self.must("s3:DeleteObject")?;
            if let Some(known) = self.details(&marker)? {
                return Ok(Answer::Deleted { marker: true, version: Some(VersionName::of(&known.version)) });
            }
            // What is not there is deleted already, whatever was expected of it.
            let there = if current.is_some() { current.clone() } else { self.newest_older()? };
            if there.is_some() {
                self.check(condition, there.as_ref())?;
            } else if *condition != Condition::default() {
                return Ok(Answer::Deleted { marker: false, version: None });
            }
            if self.bucket.configuration.versioning == Versioning::Off {
                self.make_way()?;
                return Ok(Answer::Deleted { marker: false, version: None });
            }
            return self.mark(marker);
        };
        self.must("s3:DeleteObjectVersion")?;
        let Some(details) = self.named(name)? else { return Ok(Answer::Deleted { marker: false, version: None }) };
        self.check(condition, Some(&details.version))?;
        self.check_lock(&details, bypass)?;
        let Version { id, null, marker, time_us, .. } = details.version;
        let key = self.key.clone().into_bytes();
        if current.is_some_and(|current| current.id == id) {
            self.transaction.remove(&keys::current(&self.place, &key))?;
        } else {
            self.transaction.remove(&keys::older(&self.place, &key, time_us))?;
            if null {
                self.transaction.remove(&keys::null(&self.place, &key))?;
            }
        }
        self.free_version(&id)?;
        self.promote()?;
        Ok(Answer::Deleted { marker, version: Some(name) })
    }

    /// Adds a delete marker.
    fn mark(&mut self, id: Id) -> Result<Answer, Error> {
        self.make_way()?;
        let null = self.bucket.configuration.versioning != Versioning::Enabled;
        let time_us = self.transaction.now_us();
        let etag = ETag { md5: [0; 16], parts: None };
        let version = Version { id, null, marker: true, size: 0, etag, time_us, checksum: None, owner: None };
        let key = self.key.clone();
        write(self.transaction, &keys::older(&self.place, key.as_bytes(), time_us), &version)?;
        if null {
            write(self.transaction, &keys::null(&self.place, key.as_bytes()), &time_us)?;
        }
        let (attributes, storage) = (rows::Attributes::default(), Storage::Inline);
        let details = Details { place: self.place, key, version, attributes, checksum: None, storage, parts: None };
        write(self.transaction, &keys::details(&id), &details)?;
        Ok(Answer::Deleted { marker: true, version: Some(VersionName::of(&details.version)) })
    }

    /// If the key has no current version any more, and its newest older one is no marker, that
    /// becomes current.
    fn promote(&mut self) -> Result<(), Error> {
        if self.current()?.is_some() {
            return Ok(());
        }
        let Some(newest) = self.newest_older()?.filter(|newest| !newest.marker) else { return Ok(()) };
        let key = self.key.clone().into_bytes();
        self.transaction.remove(&keys::older(&self.place, &key, newest.time_us))?;
        if newest.null {
            self.transaction.remove(&keys::null(&self.place, &key))?;
        }
        write(self.transaction, &keys::current(&self.place, &key), &newest)
    }

    /// Refuses to remove a version that must stay.
    pub(super) fn check_lock(&self, details: &Details, bypass: bool) -> Result<(), Error> {
        let locked = |why: &str| {
            Err(refuse(
                S3ErrorCode::AccessDenied,
                &format!("Access Denied because object protected by object lock: {why}"),
            ))
        };
        if details.attributes.legal_hold {
            return locked("it is under legal hold");
        }
        match details.attributes.retention {
            Some(Retention { until_us, mode }) if until_us > self.transaction.now_us() => match mode {
                LockMode::Governance if bypass => self.must("s3:BypassGovernanceRetention"),
                LockMode::Governance => locked("it is retained in GOVERNANCE mode"),
                LockMode::Compliance => locked("it is retained in COMPLIANCE mode"),
            },
            _ => Ok(()),
        }
    }
}

/// The bytes of a part.
fn part_range(parts: &[rows::PartRow], number: u16, size: u64) -> Result<(u64, u64), Error> {
    // An object that did not come in parts is its own first one.
    if parts.is_empty() && number == 1 {
        return Ok((0, size));
    }
    let mut start = 0;
    for part in parts {
        if part.number == number {
            return Ok((start, start + part.size));
        }
        start += part.size;
    }
    Err(refuse(S3ErrorCode::Custom("InvalidPartNumber".into()), "The requested partnumber is not satisfiable"))
}

/// Pieces that begin at `start`, without those before the byte `from`; where the first begins.
fn skip(mut start: u64, pieces: Vec<Piece>, from: u64) -> (u64, Vec<Piece>) {
    let mut rest = pieces.into_iter().peekable();
    while let Some(piece) = rest.next_if(|piece| start + piece.length <= from) {
        start += piece.length;
    }
    (start, rest.take(PIECES_MAX).collect())
}
