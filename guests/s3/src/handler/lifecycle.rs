//! What goes by itself: the rules of a bucket's lifecycle.
//!
//! A timer for each shard walks objects, then older versions, then uploads, [`ROWS_MAX`] rows at a
//! time, and begins again a day later. As in S3, an age in days ends at the next midnight, UTC.

use recoil_sdk::{Error, KeyRange, StorageExt as _, Transaction, settings};
use serde::{Deserialize, Serialize};

use super::{Context, read, shard, uploads};
use crate::data::command::{Condition, VersionName};
use crate::data::keys;
use crate::data::policy::Caller;
use crate::data::rows::{self, Bucket, Details, LifecycleRule, Place, Upload, Version};
use crate::digest::sha256;

pub(crate) const DAY_US: u64 = 86_400 * 1_000_000;
/// Rows of one step.
const ROWS_MAX: usize = 500;
/// From one step to the next.
const STEP_US: u64 = 1_000_000;

/// Where a walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    Objects,
    Older,
    Uploads,
}

/// Where a walk is, and the last row it has looked at.
type Cursor = (Phase, Vec<u8>);

/// Sets the shard's timer if the bucket has rules, or cancels it.
pub(super) fn arm(transaction: &mut dyn Transaction, place: &Place, bucket: &Bucket) {
    let id = keys::lifecycle_timer(place);
    if bucket.configuration.lifecycle.iter().any(|rule| rule.enabled) {
        let at_us = transaction.now_us() + STEP_US;
        transaction.set_timer(&id, at_us, b"");
    } else {
        transaction.cancel_timer(&id);
    }
}

pub(super) fn step(transaction: &mut dyn Transaction, place: &Place, payload: &[u8]) -> Result<(), Error> {
    // A bucket that is gone, or going, has no lifecycle.
    let Ok(bucket) = shard::read(transaction, place) else { return Ok(()) };
    let rules: Vec<LifecycleRule> =
        bucket.configuration.lifecycle.iter().filter(|rule| rule.enabled).cloned().collect();
    if rules.is_empty() {
        return Ok(());
    }
    let (phase, last): Cursor = if payload.is_empty() { (Phase::Objects, vec![]) } else { rows::decode(payload)? };
    let kind = match phase {
        Phase::Objects => b'O',
        Phase::Older => b'V',
        Phase::Uploads => b'U',
    };
    let mut within: KeyRange = keys::all(kind, place);
    if !last.is_empty() {
        within.start = [&last[..], &[0]].concat();
    }
    let entries: Vec<_> = transaction.entries(within).take(ROWS_MAX).collect::<Result<_, _>>()?;
    let (count, end) = (entries.len(), entries.last().map(|entry| entry.key.clone()));
    for entry in entries {
        let damaged = || Error::new("a damaged key");
        let key = if kind == b'O' {
            keys::current_key(&entry.key).to_vec()
        } else {
            keys::ordered_key(&entry.key).ok_or_else(damaged)?
        };
        let key = String::from_utf8(key).map_err(|_| damaged())?;
        let caller = Caller::root();
        let mut context =
            Context { transaction: &mut *transaction, place: *place, bucket: bucket.clone(), key, caller };
        match phase {
            Phase::Objects => context.expire(&rules, &rows::decode(&entry.value)?)?,
            Phase::Older => context.expire_older(&rules, &rows::decode(&entry.value)?)?,
            Phase::Uploads => context.expire_upload(&rules, &rows::decode(&entry.value)?)?,
        }
    }
    let next = match (phase, end.filter(|_| count == ROWS_MAX)) {
        (phase, Some(last)) => Some((phase, last)),
        (Phase::Objects, None) => Some((Phase::Older, vec![])),
        (Phase::Older, None) => Some((Phase::Uploads, vec![])),
        (Phase::Uploads, None) => None,
    };
    let now_us = transaction.now_us();
    let (at_us, payload) = match next {
        Some(cursor) => (now_us + STEP_US, rows::encode::<Cursor>(&cursor)?),
        None => (now_us + if day_us() < DAY_US { STEP_US } else { DAY_US }, vec![]),
    };
    transaction.set_timer(&keys::lifecycle_timer(place), at_us, &payload);
    Ok(())
}

/// A day of lifecycles, which the operator may make shorter to try them out.
fn day_us() -> u64 {
    let seconds = settings::integer("lifecycle-day-seconds").and_then(|seconds| u64::try_from(seconds).ok());
    seconds.filter(|seconds| *seconds > 0).map_or(DAY_US, |seconds| seconds.saturating_mul(1_000_000)).min(DAY_US)
}

/// The midnight at or after `days` days from `since_us`; where days are shorter, the end of that day.
pub(crate) fn day_after(since_us: u64, days: u32) -> u64 {
    let day_us = day_us();
    (since_us + u64::from(days) * day_us).div_ceil(day_us) * day_us
}

impl Context<'_> {
    fn matching<'a>(&self, rules: &'a [LifecycleRule], version: &Version) -> Result<Vec<&'a LifecycleRule>, Error> {
        let mut tags = vec![];
        if rules.iter().any(|rule| !rule.tags.is_empty()) {
            let details: Option<Details> = self.details(&version.id)?;
            tags = details.map(|details| details.attributes.tags).unwrap_or_default();
        }
        Ok(rules.iter().filter(|rule| rule.is_about(&self.key, version.size, &tags)).collect())
    }

    fn expire(&mut self, rules: &[LifecycleRule], version: &Version) -> Result<(), Error> {
        let now_us = self.transaction.now_us();
        let rules = self.matching(rules, version)?;
        let is_over = |rule: &&LifecycleRule| {
            rule.days.is_some_and(|days| day_after(version.time_us, days) <= now_us)
                || rule.date_us.is_some_and(|date_us| date_us <= now_us)
        };
        if !rules.iter().any(is_over) {
            return Ok(());
        }
        let mut marker = [0; 16];
        marker.copy_from_slice(&sha256(&[&version.id[..], b"expired"].concat())[..16]);
        self.delete(None, marker, &Condition::default(), false)?;
        Ok(())
    }

    fn expire_older(&mut self, rules: &[LifecycleRule], version: &Version) -> Result<(), Error> {
        let now_us = self.transaction.now_us();
        let current = self.current()?;
        let mut newer: Vec<Version> = current.clone().into_iter().collect();
        let mut count = 0;
        for entry in self.transaction.entries(keys::older_of(&self.place, self.key.as_bytes())) {
            let other: Version = rows::decode(&entry?.value)?;
            count += 1;
            if other.time_us > version.time_us {
                newer.push(other);
            } else if count > newer.len() + 2 {
                break;
            }
        }
        let rules = self.matching(rules, version)?;
        let name = Some(VersionName::of(version));
        let Some(successor) = newer.last() else {
            // A delete marker with nothing behind it hides nothing.
            if version.marker && count == 1 && rules.iter().any(|rule| rule.expired_markers || rule.days.is_some()) {
                self.delete(name, [0; 16], &Condition::default(), false)?;
            }
            return Ok(());
        };
        let older_kept = newer.len() as u64 - 1;
        let is_over = |rule: &&LifecycleRule| {
            rule.noncurrent_days.is_some_and(|days| day_after(successor.time_us, days) <= now_us)
                && rule.noncurrent_kept.is_none_or(|kept| older_kept >= u64::from(kept))
        };
        if !rules.iter().any(is_over) {
            return Ok(());
        }
        let locked = self.details(&version.id)?.is_some_and(|details| self.check_lock(&details, false).is_err());
        if !locked {
            self.delete(name, [0; 16], &Condition::default(), false)?;
        }
        Ok(())
    }

    fn expire_upload(&mut self, rules: &[LifecycleRule], upload: &Upload) -> Result<(), Error> {
        let now_us = self.transaction.now_us();
        let mut rules = rules.iter().filter(|rule| self.key.starts_with(&rule.prefix));
        if rules.any(|rule| rule.abort_days.is_some_and(|days| day_after(upload.initiated_us, days) <= now_us)) {
            let upload: Option<Upload> =
                read(self.transaction, &keys::upload(&self.place, self.key.as_bytes(), &upload.id))?;
            if let Some(upload) = upload {
                uploads::remove(self.transaction, &self.place, &upload, &[])?;
            }
        }
        Ok(())
    }
}
