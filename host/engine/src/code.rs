//! A loaded component: compiled, checked against the contract and linked, ready to be instantiated.
//!
//! A component's exports tell its roles. Its imports say nothing about permissions (JavaScript and Python components import
//! the whole world), so what was not granted of the contract, and what of WASI the host does not provide, is linked to a refusal that traps
//! when it is called. What is neither WASI's nor the contract's does not load.
//!
//! Invariant: what loads has a handler of the contract's shape, or answers HTTP requests as `wasi:http` has it and owns no data, or only plans
//! where partitions live; calling an instance of it cannot fail for its type.

pub(crate) mod cache;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use recoil_base::Digest;
use recoil_package::Permission;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker, ResourceType, Type};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::engine::{Engine, EngineError};
use crate::handler::{self, HandlerState};
use crate::listener::{self, ListenerState};

/// What a component can be used as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Owns data in partitions.
    pub handler: bool,
    /// Speaks a protocol of its own over TCP.
    pub tcp_listener: bool,
    /// May set timers.
    pub timer: bool,
    /// Answers HTTP requests.
    pub http_handler: bool,
    /// Has its log applied on every replica.
    pub state_machine: bool,
    /// Plans where partitions live.
    pub scheduler: bool,
    /// Has commands for operators.
    pub admin: bool,
}

impl Roles {
    /// True for what plans and does nothing else: it is no app.
    pub fn is_only_scheduler(self) -> bool {
        self == Roles { scheduler: true, ..Roles::default() }
    }
}

/// The functions of an instance that the host calls.
pub(crate) struct Exports {
    pub(crate) handle: Option<ComponentExportIndex>,
    pub(crate) fire: Option<ComponentExportIndex>,
    pub(crate) serve: Option<ComponentExportIndex>,
    pub(crate) respond: Option<ComponentExportIndex>,
    pub(crate) plan: Option<ComponentExportIndex>,
    pub(crate) commands: Option<ComponentExportIndex>,
    pub(crate) run: Option<ComponentExportIndex>,
}

/// A component ready to run. Made by [`Engine::load`].
pub struct AppCode {
    pub(crate) engine: Arc<Engine>,
    pub(crate) exports: Exports,
    pub(crate) handlers: InstancePre<HandlerState>,
    pub(crate) listeners: InstancePre<ListenerState>,
    /// For what answers HTTP requests as `wasi:http` has it, rather than by the contract.
    pub(crate) proxies: Option<ProxyPre<ListenerState>>,
    digest: Digest,
    roles: Roles,
    /// Linear memory of all instances, as the limiter counts it.
    pub(crate) memory: Arc<AtomicUsize>,
    /// Its number among those that share the engine's processors.
    pub(crate) share: u64,
}

impl AppCode {
    pub(crate) fn new(
        engine: Arc<Engine>,
        digest: Digest,
        component: Component,
        granted: &BTreeSet<Permission>,
    ) -> Result<Self, EngineError> {
        let found = Found::of(&component, engine.wasmtime());
        let imports = component.component_type();
        let foreign: Vec<&str> =
            imports.imports(engine.wasmtime()).map(|(name, _)| name).filter(|name| !is_known(name)).collect();
        if !foreign.is_empty() {
            return Err(EngineError::Imports { imports: foreign.join(", ") });
        }
        if found.handler.is_none() && !found.incoming && !found.roles.is_only_scheduler() {
            let exports = if found.all.is_empty() { "nothing".to_owned() } else { found.all.join(", ") };
            return Err(EngineError::NoHandler { exports });
        }
        let optional = |interface: &Option<String>, name, expected| {
            interface.as_deref().map(|interface| function(&component, interface, name, expected)).transpose()
        };
        let exports = Exports {
            handle: optional(&found.handler, "handle", HANDLE)?,
            fire: optional(&found.timer, "fire", FIRE)?,
            serve: optional(&found.listener, "serve", SERVE)?,
            respond: optional(&found.http, "handle", RESPOND)?,
            plan: optional(&found.scheduler, "plan", PLAN)?,
            commands: optional(&found.admin, "commands", COMMANDS)?,
            run: optional(&found.admin, "run", RUN)?,
        };
        let wasmtime = engine.wasmtime();
        let handlers = link(wasmtime, &component, granted, handler::link)?;
        let listeners = link(wasmtime, &component, granted, listener::link)?;
        let proxy = found.incoming && found.http.is_none();
        let proxies = proxy.then(|| ProxyPre::new(listeners.clone())).transpose();
        let proxies = proxies.map_err(|error| EngineError::Mismatch {
            export: "wasi:http/incoming-handler".to_owned(),
            why: format!("{error:#}"),
        })?;
        let (memory, share) = (Arc::default(), engine.shares().number());
        Ok(AppCode { exports, handlers, listeners, proxies, digest, roles: found.roles, engine, memory, share })
    }

    /// The digest it was loaded by.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Linear memory of all its instances, beyond what each may have without counting.
    pub fn memory_bytes(&self) -> usize {
        self.memory.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// What it can be used as.
    pub fn roles(&self) -> Roles {
        self.roles
    }
}

/// The exports that matter, by their full names.
#[derive(Default)]
struct Found {
    all: Vec<String>,
    handler: Option<String>,
    timer: Option<String>,
    listener: Option<String>,
    http: Option<String>,
    scheduler: Option<String>,
    admin: Option<String>,
    /// `wasi:http/incoming-handler` is there.
    incoming: bool,
    roles: Roles,
}

impl Found {
    fn of(component: &Component, engine: &wasmtime::Engine) -> Self {
        let mut found = Found::default();
        for (name, _) in component.component_type().exports(engine) {
            found.all.push(name.to_owned());
            if name.starts_with("wasi:http/incoming-handler@0.2.") {
                found.incoming = true;
                found.roles.http_handler = true;
            }
            let Some(interface) = contract_interface(name) else { continue };
            let roles = &mut found.roles;
            match interface {
                "handler" => {
                    roles.handler = true;
                    found.handler = Some(name.to_owned());
                }
                "timer" => {
                    roles.timer = true;
                    found.timer = Some(name.to_owned());
                }
                "tcp-listener" => {
                    roles.tcp_listener = true;
                    found.listener = Some(name.to_owned());
                }
                "http-handler" => {
                    roles.http_handler = true;
                    found.http = Some(name.to_owned());
                }
                "state-machine" => roles.state_machine = true,
                "scheduler" => {
                    roles.scheduler = true;
                    found.scheduler = Some(name.to_owned());
                }
                "admin" => {
                    roles.admin = true;
                    found.admin = Some(name.to_owned());
                }
                _ => {}
            }
        }
        found
    }
}

/// The interface that an export's name says, if it is one of the contract in a compatible version (0.1.x).
fn contract_interface(export: &str) -> Option<&str> {
    let (interface, version) = export.strip_prefix("recoil:plugin/")?.split_once('@')?;
    let patch = version.strip_prefix("0.1.")?;
    (!patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit())).then_some(interface)
}

/// The functions of the contract that the host calls, as [`signature`] writes them.
const HANDLE: &str = "func(list<u8>) -> result<list<u8>, string>";
const FIRE: &str = "func(list<u8>, list<u8>) -> result<_, string>";
const SERVE: &str = "func(own<resource>) -> result<_, string>";
const RESPOND: &str = "func(record { method: string, path: string, query: string, headers: list<tuple<string, list<u8>>>, \
                       body: list<u8>, peer-address: string }) -> result<record { status: u16, headers: \
                       list<tuple<string, list<u8>>>, body: list<u8> }, string>";
const PLAN: &str = "func(record { nodes: list<record { id: u32, state: enum { live, draining, down }, locality: \
                    list<tuple<string, string>>, capacity-bytes: u64, used-bytes: u64, cpu-load: f32 }>, rules: \
                    list<record { keyspace: u32, replication: u8, required: list<tuple<string, string>>, spread-by: list<string>, \
                    leader-preference: list<tuple<string, string>> }>, partitions: list<record { keyspace: u32, id: u32, \
                    replicas: list<u32>, load: record { reads-per-second: f32, writes-per-second: f32, \
                    cpu-seconds-per-second: f32, bytes: u64 } }> }) -> result<list<record { keyspace: u32, id: u32, \
                    replicas: list<u32>, reason: string }>, string>";
const COMMANDS: &str = "func() -> list<record { words: list<string>, usage: string, help: string }>";
const RUN: &str = "func(list<string>) -> result<string, string>";

/// The exported function `interface`#`name`, if it is what the contract says.
fn function(
    component: &Component,
    interface: &str,
    name: &str,
    expected: &str,
) -> Result<ComponentExportIndex, EngineError> {
    let mismatch = |why: String| EngineError::Mismatch { export: format!("{interface}#{name}"), why };
    let absent = || mismatch("it is absent".to_owned());
    let instance = component.get_export_index(None, interface).ok_or_else(absent)?;
    let (item, index) = component.get_export(Some(&instance), name).ok_or_else(absent)?;
    let ComponentItem::ComponentFunc(function) = item else { return Err(mismatch("it is not a function".to_owned())) };
    let found = signature(&function);
    if found != expected {
        return Err(mismatch(format!("it is {found}, not {expected}")));
    }
    Ok(index)
}

fn signature(function: &ComponentFunc) -> String {
    let params: Vec<String> = function.params().map(|(_, param)| type_name(&param)).collect();
    let results: Vec<String> = function.results().map(|result| type_name(&result)).collect();
    let kind = if function.async_() { "async func" } else { "func" };
    format!("{kind}({}) -> {}", params.join(", "), results.join(", "))
}

/// A type as WIT writes it, as far as the functions above need.
fn type_name(of: &Type) -> String {
    let or_none = |of: Option<Type>| of.map_or_else(|| "_".to_owned(), |of| type_name(&of));
    match of {
        Type::U8 => "u8".to_owned(),
        Type::U16 => "u16".to_owned(),
        Type::Tuple(tuple) => {
            let types: Vec<String> = tuple.types().map(|of| type_name(&of)).collect();
            format!("tuple<{}>", types.join(", "))
        }
        Type::Record(record) => {
            let fields: Vec<String> =
                record.fields().map(|field| format!("{}: {}", field.name, type_name(&field.ty))).collect();
            format!("record {{ {} }}", fields.join(", "))
        }
        Type::Float32 => "f32".to_owned(),
        Type::Enum(of) => format!("enum {{ {} }}", of.names().collect::<Vec<_>>().join(", ")),
        Type::String => "string".to_owned(),
        Type::List(list) => format!("list<{}>", type_name(&list.ty())),
        Type::Result(result) => format!("result<{}, {}>", or_none(result.ok()), or_none(result.err())),
        Type::Own(_) => "own<resource>".to_owned(),
        other => format!("{other:?}").split(['(', ' ']).next().unwrap_or_default().to_lowercase(),
    }
}

/// Packages whose interfaces the host provides, in any compatible version. wasmtime's own `define_unknown_imports_as_traps` looks for
/// exact versions and would put a trap before, say, WASI 0.2.6 when 0.2.12 is linked.
const PROVIDED: [&str; 8] = [
    "recoil:plugin/",
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// True for what is provided or refused when it is called: the contract in a compatible version, and whatever is WASI's. Tool chains
/// import all of WASI, used or not; any other import is its author's, and nothing could come of calling it.
fn is_known(import: &str) -> bool {
    contract_interface(import).is_some() || import.starts_with("wasi:")
}

/// Links the functions of the contract that need what was not granted to a refusal.
fn refuse_ungranted<T: 'static>(
    engine: &wasmtime::Engine,
    component: &Component,
    granted: &BTreeSet<Permission>,
    linker: &mut Linker<T>,
) -> wasmtime::Result<()> {
    for (name, item) in component.component_type().imports(engine) {
        let (Some(interface), ComponentItem::ComponentInstance(instance)) = (contract_interface(name), item.ty) else {
            continue;
        };
        // Under the name that it is linked by: the component's may be of a later patch.
        let mut linked = linker.instance(&format!("recoil:plugin/{interface}@0.1.0"))?;
        for (function, item) in instance.exports(engine) {
            let needed = Permission::of(interface, function).filter(|permission| !granted.contains(permission));
            let (Some(permission), ComponentItem::ComponentFunc(_)) = (needed, item.ty) else { continue };
            let text = format!(
                "{interface}.{function} needs the permission '{permission}', which the package does not have: add it to `permissions` in \
                 recoil.toml, build it and install it again"
            );
            linked.func_new(function, move |_, _, _, _| Err(wasmtime::Error::msg(text.clone())))?;
        }
    }
    Ok(())
}

/// A resource of an interface that the host does not have.
struct Unknown;

/// Links what the host does not know to a refusal: some tool chains import more than is ever called.
fn refuse_unknown<T: 'static>(
    engine: &wasmtime::Engine,
    component: &Component,
    linker: &mut Linker<T>,
) -> wasmtime::Result<()> {
    for (name, item) in component.component_type().imports(engine) {
        if PROVIDED.iter().any(|package| name.starts_with(package)) {
            continue;
        }
        match item.ty {
            ComponentItem::ComponentInstance(instance) => {
                let mut linked = linker.instance(name)?;
                for (member, item) in instance.exports(engine) {
                    match item.ty {
                        ComponentItem::ComponentFunc(_) => {
                            let text = format!("the host does not provide {name}, of which {member} was called");
                            linked.func_new(member, move |_, _, _, _| Err(wasmtime::Error::msg(text.clone())))?;
                        }
                        ComponentItem::Resource(_) => {
                            linked.resource(member, ResourceType::host::<Unknown>(), |_, _| Ok(()))?
                        }
                        _ => {}
                    }
                }
            }
            ComponentItem::ComponentFunc(_) => {
                let text = format!("the host does not provide {name}, which was called");
                linker.root().func_new(name, move |_, _, _, _| Err(wasmtime::Error::msg(text.clone())))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// `tcp` names `router`'s resource. The linker must know it there too, or what refuses unknown imports would take it for one.
pub(crate) fn share_subscription<T: 'static, R: 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.instance("recoil:plugin/tcp@0.1.0")?.resource("subscription", ResourceType::host::<R>(), |_, _| Ok(()))
}

fn link<T: 'static>(
    engine: &wasmtime::Engine,
    component: &Component,
    granted: &BTreeSet<Permission>,
    provide: impl FnOnce(&mut Linker<T>) -> wasmtime::Result<()>,
) -> Result<InstancePre<T>, EngineError> {
    let mut linker = Linker::new(engine);
    let linked = provide(&mut linker).and_then(|()| {
        linker.allow_shadowing(true);
        refuse_ungranted(engine, component, granted, &mut linker)?;
        linker.allow_shadowing(false);
        refuse_unknown(engine, component, &mut linker)?;
        linker.instantiate_pre(component)
    });
    linked.map_err(|error| EngineError::Link(format!("{error:#}")))
}
