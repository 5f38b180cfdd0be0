//! Builds every package of `guests/` and puts them into the programs, so that `cargo build` alone makes programs that can
//! install them without a registry; and the SDK, so that they can begin new packages; and the contract as a WIT package.

#[path = "build/guests.rs"]
mod guests;

#[path = "build/sdk.rs"]
mod sdk;

#[path = "build/contract.rs"]
mod contract;

fn main() {
    guests::run(guests::Source { folder: "guests", inputs: &["guests"], table: "packages.rs" });
    sdk::run();
    contract::run();
}
