//! What requests do: the operations of the API, in terms of commands to partitions.
//!
//! ```text
//! service      a request from its head to its answer
//! session      what all operations of a request share; calls to partitions
//! operations   the operations by their names, as s3s calls them
//! given        what requests give of an object, and answers show of one
//! objects      put and delete
//! reads        get and head
//! copies       copies, of objects and of parts
//! uploads      uploads in parts
//! lists        lists, merged of the shards'
//! merge        the merge itself
//! buckets      buckets and the list of them
//! settings     what can be set of a bucket
//! lifecycle    the rules of a bucket's lifecycle, in and out
//! attributes   tags and retention of objects
//! access       access control lists, in and out
//! facts        what conditions of policies may look at
//! users        whom an access key stands for
//! transfer     the bytes of objects, in and out
//! forms        uploads by browsers' forms
//! cors         requests of other origins
//! ```
//!
//! s3s reads a request's head into a typed input and writes a typed output as an answer's head. It
//! never sees the bytes of an object: those go from the client to partitions, and back, in
//! [`transfer`].

mod access;
mod attributes;
mod buckets;
mod copies;
mod cors;
mod facts;
mod forms;
mod given;
mod lifecycle;
#[cfg(test)]
pub(crate) mod limits;
mod lists;
mod merge;
mod objects;
pub(crate) mod operations;
mod reads;
pub(crate) mod service;
mod session;
mod settings;
mod transfer;
mod uploads;
mod users;

#[cfg(any(test, target_arch = "wasm32"))]
pub(crate) use service::{Exchange, serve};
pub(crate) use session::{Machine, call_patiently};
#[cfg(test)]
pub(crate) use users::forget;
pub(crate) use users::{SECRET_CHARACTERS_MIN, root_key};
