//! `cargo fuzz run --fuzz-dir tests/fuzz --features libfuzzer --sanitizer none dump`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| recoil_fuzz::run("dump", input));
