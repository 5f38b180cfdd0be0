//! The process's randomness: libc's `getrandom`, under which the order of hash maps, tokio's `select!`, openraft's election timeouts
//! and this project's own identifiers end, is defined by the program itself and fed from the seed.
//!
//! Only the main thread simulates. Other threads (wasmtime's compiler) draw from a stream of their own, so that when they run
//! does not change what the main thread sees.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Seeds the calling thread's stream. Before anything that hashes.
pub(crate) fn seed(seed: u64) {
    STATE.set(Some(seed));
}

fn next() -> u64 {
    let mut random = recoil_storage::simulation::Random(STATE.get().unwrap_or(0x7ead));
    let number = random.next();
    STATE.set(Some(random.0));
    number
}

/// In place of libc's.
///
/// # Safety
/// `buffer` points to `length` writable bytes, as libc demands.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    // SAFETY: the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    for piece in bytes.chunks_mut(8) {
        piece.copy_from_slice(&next().to_le_bytes()[..piece.len()]);
    }
    length as isize
}
