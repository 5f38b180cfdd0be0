//! What is kept, where, and how partitions are asked for it.

pub(crate) mod command;
pub(crate) mod keys;
pub(crate) mod policy;
pub(crate) mod rows;
