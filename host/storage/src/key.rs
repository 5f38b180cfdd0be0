//! The keys of the data: `copy u64 BE | app u32 BE | kind u8 | rest`.
//!
//! A copy id is never reused, so a partition that returns to a node never meets rows of its earlier stay. Copy 0 is the node's
//! own, app 0 the bookkeeping of the partition (or, under copy 0, of the node). Big-endian numbers make the order of keys the order
//! of numbers. Changing this is a data migration.

use recoil_base::{AppId, CopyId};

/// An app's key-value rows: the rest is the app's key.
pub const DATA: u8 = 1;
/// Timers in the order of their times: `time u64 BE | id`.
pub const TIMER_BY_TIME: u8 = 2;
/// Timers by their ids.
pub const TIMER_BY_ID: u8 = 3;
/// What is remembered of the calls of an origin.
pub const ORIGIN: u8 = 4;
/// Writes of the partition's group that wait until the copy beneath them is complete, in the order of the log:
/// `index u64 BE | place in the entry u32 BE`, with the encoded write as the value. A copy that is complete has none.
pub const STASH: u8 = 5;

/// The copy that belongs to the node and not to a partition.
pub const NODE_COPY: CopyId = CopyId(0);
/// The app that is nobody's: bookkeeping of partitions, and of the node under [`NODE_COPY`].
pub const NO_APP: AppId = AppId(0);
/// Under [`NODE_COPY`], the rows of this room itself.
pub(crate) const STORAGE_APP: AppId = AppId(u32::MAX);

/// Bytes of copy and app before every kind.
pub const PREFIX_BYTES: usize = 12;
/// A whole key may have this many bytes: what fjall can store.
pub const KEY_BYTES_MAX: usize = u16::MAX as usize;
/// A key relative to copy and app, kind included, may have this many bytes.
pub const RELATIVE_BYTES_MAX: usize = KEY_BYTES_MAX - PREFIX_BYTES;

/// What all keys of an app in a copy begin with.
pub fn prefix(copy: CopyId, app: AppId) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    prefix[..8].copy_from_slice(&copy.0.to_be_bytes());
    prefix[8..].copy_from_slice(&app.0.to_be_bytes());
    prefix
}

/// A whole key from its parts.
pub fn full(copy: CopyId, app: AppId, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(PREFIX_BYTES + 1 + rest.len());
    key.extend_from_slice(&prefix(copy, app));
    key.push(kind);
    key.extend_from_slice(rest);
    key
}

/// A whole key from a relative one, which starts with the kind.
pub fn absolute(copy: CopyId, app: AppId, relative: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(PREFIX_BYTES + relative.len());
    key.extend_from_slice(&prefix(copy, app));
    key.extend_from_slice(relative);
    key
}

/// The smallest key after all keys that begin with `prefix`; none if there is no such key.
pub fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let length = prefix.iter().rposition(|byte| *byte != u8::MAX)? + 1;
    let mut end = prefix[..length].to_vec();
    end[length - 1] += 1;
    Some(end)
}

/// The copy that a whole key belongs to; none if the bytes are too short to be one.
pub fn copy_of(key: &[u8]) -> Option<CopyId> {
    key.first_chunk::<8>().map(|bytes| CopyId(u64::from_be_bytes(*bytes)))
}

/// The app that a whole key belongs to; none if the bytes are too short to be one.
pub fn app_of(key: &[u8]) -> Option<AppId> {
    key.get(8..)?.first_chunk::<4>().map(|bytes| AppId(u32::from_be_bytes(*bytes)))
}

/// The rest of a [`TIMER_BY_TIME`] key. `time_us` counts from the Unix epoch.
pub fn timer_by_time(time_us: u64, id: &[u8]) -> Vec<u8> {
    let mut rest = Vec::with_capacity(8 + id.len());
    rest.extend_from_slice(&time_us.to_be_bytes());
    rest.extend_from_slice(id);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_laid_out_and_ordered_as_promised() {
        let key = full(CopyId(0x0102), AppId(3), DATA, b"k");
        assert_eq!(key, [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 1, b'k']);
        assert_eq!(key, absolute(CopyId(0x0102), AppId(3), b"\x01k"));
        assert_eq!(copy_of(&key), Some(CopyId(0x0102)));
        assert_eq!(copy_of(&key[..7]), None);
        assert_eq!((app_of(&key), app_of(&key[..11])), (Some(AppId(3)), None));
        assert!(full(CopyId(255), AppId(9), 9, b"z") < full(CopyId(256), AppId(0), 0, b""));
        assert!(timer_by_time(255, b"z") < timer_by_time(256, b"a"));
    }

    #[test]
    fn the_key_after_a_prefix_follows_all_of_its_keys_and_nothing_more() {
        assert_eq!(after(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(after(&[255, 255]), None);
        assert_eq!(after(&[]), None);
    }
}
