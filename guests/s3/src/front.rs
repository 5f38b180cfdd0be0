//! A request before it is an operation: what was sent, who sent it, and what the body is.
//!
//! Everything here is without I/O and knows nothing of partitions.

pub(crate) mod authenticate;
pub(crate) mod chunked;
pub(crate) mod form;
pub(crate) mod names;
pub(crate) mod payload;
pub(crate) mod request;
pub(crate) mod signature;
pub(crate) mod time;
