//! The conformance package in Rust: everything that the contract offers, behind the protocol of `PROTOCOL.md`.
//!
//! A request is a [`list`](wire) of a command and its arguments, whatever brought it. [`commands`] runs those that need nothing but
//! storage, wherever they are asked; [`handler`] and [`listener`] add what can only be done in their places; [`tcp`] and [`http`]
//! carry requests to the listener. [`admin`] has commands for operators; [`planner`] is alone with its view.

mod admin;
mod commands;
mod handler;
mod http;
mod listener;
mod planner;
mod tcp;
mod wire;

struct Package;

recoil_sdk::export!(Package: handler, timer, tcp_listener, http_handler, admin, scheduler);

#[cfg(test)]
mod tests;
