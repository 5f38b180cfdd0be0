//! What a package can be: the traits behind its exports, and the macro that exports them.

use crate::admin::Command;
use crate::connection::{Connection, ConnectionError};
use crate::http::{HttpRequest, HttpResponse};
use crate::router::{CallError, Router};
use crate::scheduler::{Placement, View};
use crate::storage::StorageError;
use crate::transaction::Transaction;

/// Owns data. One instance for each partition, on the partition's leader; requests are answered one at a time.
pub trait Handler {
    /// Answer one request inside one transaction.
    ///
    /// An error rolls back everything this call did and reaches the caller as [`CallError::Rejected`]. A panic rolls back
    /// too, replaces the instance and reaches the caller as [`CallError::Failed`]. The call may be evaluated again if its
    /// writes could not be committed, so it must have no effects but those on `transaction`; what it keeps in memory
    /// between calls is a cache only, and must survive the rollback of the call that filled it.
    fn handle(transaction: &mut dyn Transaction, request: &[u8]) -> Result<Vec<u8>, Error>;
}

/// Is told when a timer that a transaction set has come due.
pub trait Timer {
    /// Called at least once, in a transaction that also removes the timer, so that its writes happen exactly once. An
    /// error or a panic rolls back and is tried again after a pause that doubles from 1 s to 1 min.
    fn fire(transaction: &mut dyn Transaction, id: &[u8], payload: &[u8]) -> Result<(), Error>;
}

/// Speaks a network protocol. An instance of its own for each open connection.
pub trait Listener {
    /// Serve one connection until it ends: read, call partitions, write, as a thread per connection would. When this
    /// returns the connection is closed; an error is written to the package's log.
    fn serve(connection: &mut dyn Connection, router: &dyn Router) -> Result<(), Error>;
}

/// Answers HTTP requests. The host owns the server; an instance answers one request at a time and is kept for later ones, so
/// that what it holds in memory is a cache only.
pub trait HttpHandler {
    /// Answer one request. An error is answered with status 500 and written to the package's log; what the client should know goes
    /// into an answer.
    fn respond(request: &HttpRequest, router: &dyn Router) -> Result<HttpResponse, Error>;
}

/// Has commands for operators, which `recoilctl APP ARGUMENTS…` runs. An instance of its own for each.
pub trait Admin {
    /// What `recoilctl APP --help` lists.
    fn commands() -> Vec<Command>;

    /// Run the command that the operator typed behind the app's name. What this returns is printed as it is; an error is printed as one,
    /// and recoilctl fails. The operator may break it off at any time, so it should be safe to run again.
    fn run(arguments: &[String], router: &dyn Router) -> Result<String, Error>;
}

/// Decides where partitions live, in the place of the host's own scheduler. A package with no other role needs no handler.
pub trait Scheduler {
    /// Where partitions should be: only those that should change, most urgent first.
    ///
    /// A plan is a function of its view: there is nothing else to look at. One that is refused for the rules it breaks, an error, a panic
    /// and a plan that takes too long leave the placement to the host's own scheduler, with the reason in the node's log.
    fn plan(view: &View) -> Result<Vec<Placement>, Error>;
}

/// Why a role refused, in words for the caller. Anything that is an error becomes one by `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// An error that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Error(message.into())
    }

    /// What the caller is told.
    pub fn message(&self) -> &str {
        &self.0
    }

    /// What the caller is told, taken out.
    pub fn into_message(self) -> String {
        self.0
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Error(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Error(message.to_owned())
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        Error(match error {
            StorageError::TooLarge(why) => why,
            StorageError::ReadOnly => "a write in a read-only call: route it with mode write".to_owned(),
            StorageError::QuotaExceeded(why) => why,
            StorageError::Unavailable(why) => why,
        })
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        Error(match error {
            CallError::Rejected(why) => why,
            CallError::Failed(why) => format!("the handler failed: {why}"),
            CallError::UnknownOutcome(why) => format!("the outcome is unknown: {why}"),
            CallError::Unavailable(why) => format!("the partition is unavailable: {why}"),
            CallError::Conflict => "the transaction lost to a conflicting one: retry it".to_owned(),
        })
    }
}

impl From<ConnectionError> for Error {
    fn from(error: ConnectionError) -> Self {
        Error(match error {
            ConnectionError::Closed => "the connection is closed".to_owned(),
            ConnectionError::TimedOut => "the client was idle for too long".to_owned(),
            ConnectionError::Failed(why) => why,
        })
    }
}

impl From<crate::encoding::DecodeError> for Error {
    fn from(error: crate::encoding::DecodeError) -> Self {
        Error(error.to_string())
    }
}

/// Export a type's roles, once for each package: `recoil_sdk::export!(MyPackage: handler, timer, tcp_listener);`
///
/// Name the roles that the type implements ([`Handler`], [`Timer`], [`Listener`], [`HttpHandler`], [`Admin`], [`Scheduler`]) and that the package
/// shall have: the host gives a package the roles it exports. Compiled natively, as for a unit test, it only checks that they are
/// implemented.
#[macro_export]
macro_rules! export {
    ($package:ident: $($role:ident),+ $(,)?) => {
        $( $crate::__export_role!($package $role); )+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_role {
    ($package:ident handler) => {
        const _: () = {
            struct Exported;
            impl $crate::bindings::handler::exports::recoil::plugin::handler::Guest for Exported {
                fn handle(
                    request: ::std::vec::Vec<u8>,
                ) -> ::std::result::Result<::std::vec::Vec<u8>, ::std::string::String> {
                    $crate::roles::export_handle::<$package>(&request)
                }
            }
            #[cfg(target_arch = "wasm32")]
    $crate::bindings::handler::export_handler!(Exported with_types_in $crate::bindings::handler);
        };
    };
    ($package:ident timer) => {
        const _: () = {
            struct Exported;
            impl $crate::bindings::timer::exports::recoil::plugin::timer::Guest for Exported {
                fn fire(
                    id: ::std::vec::Vec<u8>,
                    payload: ::std::vec::Vec<u8>,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    $crate::roles::export_fire::<$package>(&id, &payload)
                }
            }
            #[cfg(target_arch = "wasm32")]
    $crate::bindings::timer::export_timer!(Exported with_types_in $crate::bindings::timer);
        };
    };
    ($package:ident tcp_listener) => {
        const _: () = {
            struct Exported;
            impl $crate::bindings::tcp_listener::exports::recoil::plugin::tcp_listener::Guest for Exported {
                fn serve(
                    connection: $crate::bindings::platform::recoil::plugin::tcp::Connection,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    $crate::roles::export_serve::<$package>(connection)
                }
            }
            #[cfg(target_arch = "wasm32")]
    $crate::bindings::tcp_listener::export_tcp_listener!(Exported with_types_in $crate::bindings::tcp_listener);
        };
    };
    ($package:ident http_handler) => {
        const _: () = {
            use $crate::bindings::http_handler::exports::recoil::plugin::http_handler::{Guest, Request, Response};
            struct Exported;
            impl Guest for Exported {
                fn handle(request: Request) -> ::std::result::Result<Response, ::std::string::String> {
                    $crate::roles::export_respond::<$package>(request)
                }
            }
            #[cfg(target_arch = "wasm32")]
    $crate::bindings::http_handler::export_http_handler!(Exported with_types_in $crate::bindings::http_handler);
        };
    };
    ($package:ident admin) => {
        const _: () = {
            use $crate::bindings::admin::exports::recoil::plugin::admin::{Command, Guest};
            struct Exported;
            impl Guest for Exported {
                fn commands() -> ::std::vec::Vec<Command> {
                    <$package as $crate::Admin>::commands()
                }

                fn run(
                    arguments: ::std::vec::Vec<::std::string::String>,
                ) -> ::std::result::Result<::std::string::String, ::std::string::String> {
                    $crate::roles::export_run::<$package>(&arguments)
                }
            }
            #[cfg(target_arch = "wasm32")]
    $crate::bindings::admin::export_admin!(Exported with_types_in $crate::bindings::admin);
        };
    };
    ($package:ident scheduler) => {
        const _: () = {
            use $crate::bindings::scheduler::exports::recoil::plugin::scheduler::{Guest, Placement, View};
            struct Exported;
            impl Guest for Exported {
                fn plan(view: View) -> ::std::result::Result<::std::vec::Vec<Placement>, ::std::string::String> {
                    $crate::roles::export_plan::<$package>(&view)
                }
            }
            #[cfg(target_arch = "wasm32")]
    $crate::bindings::scheduler::export_scheduler!(Exported with_types_in $crate::bindings::scheduler);
        };
    };
    ($package:ident $other:ident) => {
        ::std::compile_error!(::std::concat!(
            "'",
            ::std::stringify!($other),
            "' is not a role: handler, timer, tcp_listener, http_handler, admin and scheduler are"
        ));
    };
}

#[doc(hidden)]
pub fn export_handle<H: Handler>(request: &[u8]) -> Result<Vec<u8>, String> {
    H::handle(&mut crate::host::HostTransaction, request).map_err(Error::into_message)
}

#[doc(hidden)]
pub fn export_fire<T: Timer>(id: &[u8], payload: &[u8]) -> Result<(), String> {
    T::fire(&mut crate::host::HostTransaction, id, payload).map_err(Error::into_message)
}

#[doc(hidden)]
pub fn export_serve<L: Listener>(
    connection: crate::bindings::platform::recoil::plugin::tcp::Connection,
) -> Result<(), String> {
    L::serve(&mut crate::host::HostConnection(connection), &crate::host::HostRouter).map_err(Error::into_message)
}

#[doc(hidden)]
pub fn export_respond<H: HttpHandler>(
    request: crate::bindings::http_handler::exports::recoil::plugin::http_handler::Request,
) -> Result<crate::bindings::http_handler::exports::recoil::plugin::http_handler::Response, String> {
    use crate::bindings::http_handler::exports::recoil::plugin::http_handler::{Request, Response};
    let Request { method, path, query, headers, body, peer_address } = request;
    let request = HttpRequest { method, path, query, headers, body, peer_address };
    let HttpResponse { status, headers, body } =
        H::respond(&request, &crate::host::HostRouter).map_err(Error::into_message)?;
    Ok(Response { status, headers, body })
}

#[doc(hidden)]
pub fn export_run<A: Admin>(arguments: &[String]) -> Result<String, String> {
    A::run(arguments, &crate::host::HostRouter).map_err(Error::into_message)
}

#[doc(hidden)]
pub fn export_plan<S: Scheduler>(view: &View) -> Result<Vec<Placement>, String> {
    S::plan(view).map_err(Error::into_message)
}
