//! What the three programs share: `recoil` (one node), `recoilctl` (for operators) and `recoil_simulator` (several nodes in
//! one process). They are one file, `recoil`, under three names (see `main.rs`).
//!
//! The programs themselves are a page each, with a file for every verb. Invariant: a program that fails prints one
//! sentence that says what, why and what to do, and exits non-zero with a code of [`exit`]. Deliberately absent:
//! anything a node does by itself; this crate starts nodes and asks them.

#![warn(clippy::print_stdout, clippy::print_stderr)] // they panic where nobody takes the text: see `say`

pub mod client;
pub mod ctl;
#[cfg(test)]
mod documented;
pub mod exit;
pub mod node;
pub mod packages;
pub mod process;
pub mod say;
pub mod simulator;
mod start;

/// A request allocates many small things on one thread that another drops, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
