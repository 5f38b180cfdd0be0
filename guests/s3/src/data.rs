//! What is kept, where, how partitions are asked for it, and who may.

pub(crate) mod access;
pub(crate) mod command;
pub(crate) mod condition;
pub(crate) mod keys;
pub(crate) mod policy;
pub(crate) mod rows;
