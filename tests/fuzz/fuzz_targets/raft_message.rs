//! `cargo fuzz run --fuzz-dir tests/fuzz --features libfuzzer --sanitizer none raft_message`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| recoil_fuzz::run("raft_message", input));
