//! Builds the hostile package, as the programs' own packages are built.

#[path = "../../host/bins/build/guests.rs"]
mod guests;

fn main() {
    guests::run(guests::Source { folder: "tests/hostile", inputs: &["tests/hostile/guest"], table: "packages.rs" });
}
