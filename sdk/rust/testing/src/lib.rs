//! recoil-testing
