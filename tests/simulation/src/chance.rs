//! The run's dice: one stream of numbers for faults, delays and load.

use std::ops::Range;

use parking_lot::Mutex;
use recoil_storage::simulation::Random;

static DICE: Mutex<Random> = Mutex::new(Random(0));

pub(crate) fn seed(seed: u64) {
    *DICE.lock() = Random(seed ^ 0x5eed_d1ce);
}

/// A number in the range, which is not empty.
pub(crate) fn within(range: Range<u64>) -> u64 {
    range.start + DICE.lock().below(range.end - range.start)
}

/// True so many times in a hundred.
pub(crate) fn percent(percent: u64) -> bool {
    DICE.lock().percent(percent)
}

/// One of them.
pub(crate) fn pick<T: Copy>(from: &[T]) -> T {
    from[within(0..from.len() as u64) as usize]
}

/// A stream of its own, for what takes one.
pub(crate) fn fork() -> Random {
    Random(DICE.lock().next())
}
