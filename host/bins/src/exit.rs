//! Exit codes, the same for all programs.

/// Done.
pub const OK: u8 = 0;
/// The command was understood and failed; what was printed says why.
pub const FAILED: u8 = 1;
/// The command line makes no sense (clap's own code).
pub const USAGE: u8 = 2;
/// No node could be reached.
pub const UNREACHABLE: u8 = 3;
/// `recoilctl status` found something that an operator should act on.
pub const ATTENTION: u8 = 10;

/// For `--help`.
pub const HELP: &str =
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no node could be reached, 10 `status` found what needs attention";
