//! Builds every package of `guests/` and puts them into the programs, so that `cargo build` alone makes programs that can
//! install them without a registry.

#[path = "build/guests.rs"]
mod guests;

fn main() {
    guests::run(guests::Source { folder: "guests", inputs: &["guests"], table: "packages.rs" });
}
