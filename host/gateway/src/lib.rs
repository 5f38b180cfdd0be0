//! The doors of a node: the admin API for operators, and the ports that apps listen on.
//!
//! - [`api`] holds what the admin API says, and the trait a node implements to say it.
//! - [`admin`] speaks HTTP/1.1 on one accepted stream: the node shares a single port between operators and peers.
//! - [`tcp`] accepts connections for apps and bounds them.
//! - [`http`] speaks HTTP on those of apps that answer requests.
//!
//! Invariant: nothing that arrives at a door can panic, hold memory without bound or keep a stream open for free: every
//! body, header block, connection count and wait has a limit. Deliberately absent: what the answers are. This room knows
//! neither consensus nor guests; a node hands it an [`api::AdminApi`] and a [`tcp::ConnectionHandler`]
//! or an [`http::Responder`].

pub mod admin;
pub mod api;
pub mod http;
pub mod tcp;
