//! Where rows lie: addresses, which choose partitions, and keys within them.
//!
//! ```text
//! address      rows
//! b name       B name                       -> a bucket
//! l            A owner name                 -> a bucket's id and birth, for the list of an owner's buckets
//! y access-key Y access-key                 -> a key with its secret, and whom it stands for
//! u            W name                       -> a key without its secret, for the list of keys
//! i bid shard  S bid shard                  -> the shard's copy of the bucket
//!              O bid shard key              -> the current version, if it is not a delete marker
//!              V bid shard key ~time        -> versions that are not in O: older ones, and markers, newest first
//!              N bid shard key              -> the time of the version named null, while it is in V
//!              H version                    -> its details
//!              I version                    -> its bytes, if they are few
//!              Q version                    -> its parts
//!              X version segment            -> its manifest
//!              U bid shard key upload       -> an upload
//!              M upload part                -> a part
//!              K upload                     -> what completing it came to
//!              P content                    -> bytes being written
//!              T time name                  -> bytes to free, and not before when
//!              J                            -> when the partition's timer fires
//! d id run     D id chunk                   -> 512 KiB
//! ```
//!
//! Shards may share a partition, so what lists walk begins with the shard. What is waited for (`K`,
//! `P`, `T`, `J`) belongs to the partition: it outlives the bucket.

use recoil_sdk::KeyRange;
use recoil_sdk::encoding::{Key, KeyReader};
use recoil_sdk::storage::prefix_end;

use super::rows::{Id, Place};

/// Bytes of a chunk, but for a content's last.
pub(crate) const CHUNK_BYTES: usize = 512 << 10;
/// Chunks of a run: those that lie on one partition.
pub(crate) const RUN_CHUNKS: u32 = 16;
/// Bytes of a run.
pub(crate) const RUN_BYTES: u64 = CHUNK_BYTES as u64 * RUN_CHUNKS as u64;

pub(crate) fn bucket_address(name: &str) -> Vec<u8> {
    [b"b", name.as_bytes()].concat()
}

pub(crate) fn list_address() -> Vec<u8> {
    b"l".to_vec()
}

pub(crate) fn access_key_address(access_key: &str) -> Vec<u8> {
    [b"y", access_key.as_bytes()].concat()
}

pub(crate) fn users_address() -> Vec<u8> {
    b"u".to_vec()
}

pub(crate) fn shard_address(place: &Place) -> Vec<u8> {
    at(b'i', place)
}

pub(crate) fn run_address(content: &Id, run: u32) -> Vec<u8> {
    [&b"d"[..], content, &run.to_be_bytes()].concat()
}

/// The shard of a bucket in which a key lies. FNV-1a: part of the layout, as [`keys`](self) is.
pub(crate) fn shard_of(key: &str, shards: u16) -> u16 {
    let hash = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    // The low bits of FNV depend on the low bits of the bytes only.
    let mixed = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32;
    u16::try_from(mixed % u64::from(shards.max(1))).unwrap_or(0)
}

fn at(kind: u8, place: &Place) -> Vec<u8> {
    [&[kind][..], &place.bucket, &place.shard.to_be_bytes()].concat()
}

fn of(kind: u8, id: &Id) -> Vec<u8> {
    [&[kind][..], id].concat()
}

pub(crate) fn bucket(name: &str) -> Vec<u8> {
    [b"B", name.as_bytes()].concat()
}

pub(crate) fn listed(owner: &str, name: &str) -> Vec<u8> {
    [&Key::new(b'A').bytes(owner.as_bytes()).finish()[..], name.as_bytes()].concat()
}

/// The name in a row of [`listed`].
pub(crate) fn listed_name<'a>(owner: &str, row: &'a [u8]) -> &'a [u8] {
    row.get(listed(owner, "").len()..).unwrap_or_default()
}

pub(crate) fn access_key(access_key: &str) -> Vec<u8> {
    [b"Y", access_key.as_bytes()].concat()
}

pub(crate) fn registered(name: &str) -> Vec<u8> {
    [b"W", name.as_bytes()].concat()
}

pub(crate) fn shard(place: &Place) -> Vec<u8> {
    at(b'S', place)
}

/// The current version of a key. Keys are the ends of these rows, so that their order is the
/// lists'.
pub(crate) fn current(place: &Place, key: &[u8]) -> Vec<u8> {
    [&at(b'O', place), key].concat()
}

/// The key in a row of [`current`].
pub(crate) fn current_key(row: &[u8]) -> &[u8] {
    row.get(PLACE_BYTES..).unwrap_or_default()
}

const PLACE_BYTES: usize = 1 + 16 + 2;

/// The rows of a kind in a shard.
pub(crate) fn all(kind: u8, place: &Place) -> KeyRange {
    KeyRange::prefix(&at(kind, place))
}

/// Older versions of a key, or what sorts like them.
fn ordered(kind: u8, place: &Place, key: &[u8]) -> Vec<u8> {
    let escaped = Key::new(kind).bytes(key).finish();
    [&at(kind, place), &escaped[1..]].concat()
}

pub(crate) fn older(place: &Place, key: &[u8], time_us: u64) -> Vec<u8> {
    [&ordered(b'V', place, key)[..], &(!time_us).to_be_bytes()].concat()
}

/// The older versions of one key, newest first.
pub(crate) fn older_of(place: &Place, key: &[u8]) -> KeyRange {
    KeyRange::prefix(&ordered(b'V', place, key))
}

/// Rows of `kind` (`V` or `U`) whose key is `start` or later.
pub(crate) fn ordered_from(kind: u8, place: &Place, start: &[u8]) -> KeyRange {
    let mut from = ordered(kind, place, start);
    // Without the end of the key: `start` may be the beginning of one.
    from.truncate(from.len() - 2);
    KeyRange { start: from, end: prefix_end(&at(kind, place)) }
}

/// The key in a row of [`older`] or [`upload`].
pub(crate) fn ordered_key(row: &[u8]) -> Option<Vec<u8>> {
    // A reader of parts begins behind a kind.
    let (_, mut reader) = KeyReader::new(row.get(PLACE_BYTES - 1..)?).ok()?;
    reader.bytes().ok()
}

pub(crate) fn null(place: &Place, key: &[u8]) -> Vec<u8> {
    [&at(b'N', place), key].concat()
}

pub(crate) fn details(version: &Id) -> Vec<u8> {
    of(b'H', version)
}

pub(crate) fn inline(version: &Id) -> Vec<u8> {
    of(b'I', version)
}

pub(crate) fn parts(version: &Id) -> Vec<u8> {
    of(b'Q', version)
}

pub(crate) fn segment(version: &Id, number: u32) -> Vec<u8> {
    [&of(b'X', version)[..], &number.to_be_bytes()].concat()
}

pub(crate) fn segments(version: &Id) -> KeyRange {
    KeyRange::prefix(&of(b'X', version))
}

pub(crate) fn upload(place: &Place, key: &[u8], upload: &Id) -> Vec<u8> {
    [&ordered(b'U', place, key)[..], upload].concat()
}

pub(crate) fn part(upload: &Id, number: u16) -> Vec<u8> {
    [&of(b'M', upload)[..], &number.to_be_bytes()].concat()
}

pub(crate) fn upload_parts(upload: &Id) -> KeyRange {
    KeyRange::prefix(&of(b'M', upload))
}

pub(crate) fn completed(upload: &Id) -> Vec<u8> {
    of(b'K', upload)
}

pub(crate) fn intent(content: &Id) -> Vec<u8> {
    of(b'P', content)
}

pub(crate) fn tombstone(not_before_us: u64, name: &Id) -> Vec<u8> {
    [&b"T"[..], &not_before_us.to_be_bytes(), name].concat()
}

/// Tombstones that are due.
pub(crate) fn due(now_us: u64) -> KeyRange {
    KeyRange { start: b"T".to_vec(), end: Some([&b"T"[..], &now_us.to_be_bytes()].concat()) }
}

/// When the partition's timer fires; also the timer's id.
pub(crate) fn timer() -> Vec<u8> {
    b"J".to_vec()
}

/// The id of a shard's lifecycle timer.
pub(crate) fn lifecycle_timer(place: &Place) -> Vec<u8> {
    at(b'L', place)
}

pub(crate) fn lifecycle_place(id: &[u8]) -> Option<Place> {
    let (bucket, shard) = id.strip_prefix(b"L")?.split_first_chunk::<16>()?;
    Some(Place { bucket: *bucket, shard: u16::from_be_bytes(shard.try_into().ok()?) })
}

pub(crate) fn chunk(content: &Id, index: u32) -> Vec<u8> {
    [&of(b'D', content)[..], &index.to_be_bytes()].concat()
}

/// The chunks of a run.
pub(crate) fn run(content: &Id, run: u32) -> KeyRange {
    let first = run.saturating_mul(RUN_CHUNKS);
    KeyRange { start: chunk(content, first), end: Some(chunk(content, first.saturating_add(RUN_CHUNKS))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { bucket: [7; 16], shard: 3 };

    /// Fails if the list of one owner's buckets shows another's.
    #[test]
    fn the_buckets_of_an_owner_are_a_range_of_their_own() {
        let rows = [listed("a", "b"), listed("a", "c"), listed("a\0", "a"), listed("ab", "a")];
        assert!(rows.is_sorted());
        let within = KeyRange::prefix(&listed("a", ""));
        let owned: Vec<&[u8]> = rows
            .iter()
            .filter(|row| **row >= within.start && within.end.as_ref().is_none_or(|end| *row < end))
            .map(|row| listed_name("a", row))
            .collect();
        assert_eq!(owned, [b"b", b"c"]);
    }

    #[test]
    fn versions_sort_by_key_and_then_newest_first() {
        let rows = [
            older(&PLACE, b"a", 9),
            older(&PLACE, b"a", 1),
            older(&PLACE, b"a\0", 5),
            older(&PLACE, b"a\x01", 5),
            older(&PLACE, b"ab", 7),
        ];
        assert!(rows.is_sorted());
        assert!(ordered_from(b'V', &PLACE, b"a").start < rows[0]);
        assert!(ordered_from(b'V', &PLACE, b"a\0").start > rows[1]);
        assert!(ordered_from(b'V', &PLACE, b"a\0").start <= rows[2]);
        for (row, key) in rows.iter().zip([&b"a"[..], b"a", b"a\0", b"a\x01", b"ab"]) {
            assert_eq!(ordered_key(row).unwrap(), key);
        }
        assert_eq!(current_key(&current(&PLACE, b"\xff\0")), b"\xff\0");
        assert_eq!(lifecycle_place(&lifecycle_timer(&PLACE)), Some(PLACE));
        assert_eq!(lifecycle_place(b"L123"), None);
    }

    /// The rule is part of what is on disk: another one finds nothing any more.
    #[test]
    fn keys_lie_where_they_lay() {
        let shards: Vec<u16> = ["", "a", "b", "photos/2026/01.jpg"].iter().map(|key| shard_of(key, 16)).collect();
        assert_eq!(shards, EXPECTED);
        let mut counts = [0u32; 16];
        for n in 0..16_000 {
            counts[usize::from(shard_of(&format!("key-{n:06}"), 16))] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    const EXPECTED: [u16; 4] = [14, 7, 1, 10];
}
