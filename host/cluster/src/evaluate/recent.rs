//! Rows that an app has read or written lately on a partition that this node leads: a read of one costs a tenth of what it costs in the data.
//!
//! It belongs to a session and is asked after the overlay. Invariant: what it holds of a key is what the data hold, or will hold once the
//! overlay has let go of the key. Every write of the session goes through [`Recent::wrote`], and nobody else writes while it lasts.
//!
//! Bounded: [`BYTES_MAX`] for all partitions of an app together; large values are not kept.

use bytes::Bytes;
use parking_lot::Mutex;
use quick_cache::{Weighter, unsync::Cache};
use recoil_storage::Write;

/// Bytes of an app's rows kept on a node that leads all partitions.
const BYTES_MAX: usize = 64 << 20;
/// Bytes for one partition at most, however few there are.
const PARTITION_BYTES_MAX: usize = 256 << 10;
/// Larger values are as well read from the data.
const VALUE_BYTES_MAX: usize = 4 << 10;
/// What a row costs beyond its bytes.
const ROW_OVERHEAD: usize = 128;

/// The value of a row, none if there is no such row.
type Value = Option<Bytes>;

#[derive(Clone)]
struct Size;

impl Weighter<Bytes, Value> for Size {
    fn weight(&self, key: &Bytes, value: &Value) -> u64 {
        (ROW_OVERHEAD + key.len() + value.as_ref().map_or(0, Bytes::len)) as u64
    }
}

/// See the module's text.
pub(super) struct Recent {
    rows: Mutex<Cache<Bytes, Value, Size>>,
}

impl Recent {
    /// For one of `partitions`.
    pub(super) fn new(partitions: u32) -> Self {
        let bytes = (BYTES_MAX / partitions.max(1) as usize).min(PARTITION_BYTES_MAX);
        Recent { rows: Mutex::new(Cache::with_weighter(bytes / (4 * ROW_OVERHEAD), bytes as u64, Size)) }
    }

    /// The row's value, if it is known: `Some(None)` when there is no such row.
    pub(super) fn get(&self, key: &[u8]) -> Option<Value> {
        self.rows.lock().get(key).cloned()
    }

    /// Takes in what the data hold.
    pub(super) fn read(&self, key: &[u8], value: Option<&Bytes>) {
        keep(&mut self.rows.lock(), key, value);
    }

    /// Takes in what will be in the data.
    pub(super) fn wrote(&self, write: &Write) {
        let mut rows = self.rows.lock();
        match write {
            Write::Put { key, value } => keep(&mut rows, key, Some(value)),
            Write::Remove { key } => keep(&mut rows, key, None),
            Write::RemoveRange { .. } => rows.clear(),
        }
    }
}

/// Keeps a copy: a short piece must not keep the long buffer alive that it came in.
fn keep(rows: &mut Cache<Bytes, Value, Size>, key: &[u8], value: Option<&Bytes>) {
    if value.is_some_and(|value| value.len() > VALUE_BYTES_MAX) {
        rows.remove(key);
    } else {
        rows.insert(Bytes::copy_from_slice(key), value.map(|value| Bytes::copy_from_slice(value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    /// Fails if a kind of write is not taken in: an old value would be read once the overlay has let go of the new one.
    #[test]
    fn what_was_read_before_a_write_is_not_found_after_it() {
        let recent = Recent::new(265);
        assert_eq!(recent.get(b"k"), None);
        recent.read(b"k", Some(&bytes("old")));
        recent.read(b"none", None);
        assert_eq!((recent.get(b"k"), recent.get(b"none")), (Some(Some(bytes("old"))), Some(None)));
        recent.wrote(&Write::Put { key: bytes("k"), value: bytes("new") });
        assert_eq!(recent.get(b"k"), Some(Some(bytes("new"))));
        recent.wrote(&Write::Remove { key: bytes("k") });
        assert_eq!(recent.get(b"k"), Some(None));
        recent.read(b"k", Some(&bytes("old")));
        recent.wrote(&Write::Put { key: bytes("k"), value: vec![0; VALUE_BYTES_MAX + 1].into() });
        assert_eq!(recent.get(b"k"), None, "too large to be kept");
        recent.read(b"k", Some(&bytes("old")));
        recent.wrote(&Write::RemoveRange { start: bytes("j"), end: None });
        assert_eq!(recent.get(b"k"), None);
    }

    /// Red without the weights.
    #[test]
    fn what_is_kept_is_bounded() {
        let recent = Recent::new(10_000);
        for number in 0..100_000u32 {
            recent.read(&number.to_be_bytes(), Some(&vec![1; 1000].into()));
        }
        let rows = recent.rows.lock();
        assert!(
            rows.weight() <= (BYTES_MAX / 10_000) as u64 && rows.len() > 1,
            "{} bytes, {} rows",
            rows.weight(),
            rows.len()
        );
    }
}
