//! The life of apps on this node: from the entry that installs one to the one that removes it.
//!
//! A loop over the newest state. The package of an app that is not loaded is read from this node's file or fetched from other nodes
//! ([`crate::packages`]), compiled (or taken from the cache) and reported ready; one that serves gets its ports; one that is gone loses ports, code and,
//! row by row, its data, unless that is kept for its next installation. The id of an app whose data is removed is never given to another, so
//! removing rows late or twice harms nothing. While the node is drained or decommissioned its apps' ports are closed; connections that are
//! open go on until their clients end them.
//!
//! An app runs where the rule of its keyspace allows: elsewhere its package is neither fetched nor run, and no port is opened for it. If
//! the rule or the node's locality changes, it comes or goes as if it were installed or uninstalled here alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use recoil_base::{AppId, NodeId, Shutdown, task};
use recoil_cluster::meta::{App, AppState};
use recoil_cluster::{EvaluatedApp, MetaCommand, MetaState, SharedInstances};
use recoil_engine::{
    AppCode, AppLog, Environment, HttpError, HttpRequest, HttpResponse, HttpService, LIMITS, Limits, LogLevel, Roles,
    Settings,
};
use recoil_gateway::http::{HttpServer, Request, Responder, Response, StatusCode, StreamBody};
use recoil_gateway::tcp::{AppListener, ConnectionHandler, ListenerOptions, ListenerState, end_reading};
use recoil_package::{Instances, Limits as ManifestLimits, Manifest, Protocol, RequestInstances, SettingValue};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::node::Parts;

/// Pause before a report that could not be made is tried again.
const REPORT_PAUSE: Duration = Duration::from_secs(1);
/// Pause before an app that could not be made ready is tried again.
const RELOAD_PAUSE: Duration = Duration::from_secs(10);

/// An app on this node.
pub(crate) struct Loaded {
    /// Which installation of it.
    install: u32,
    pub(crate) name: Arc<str>,
    pub(crate) code: Arc<AppCode>,
    pub(crate) log: AppLog,
    pub(crate) limits: Limits,
    settings: Settings,
    listeners: Vec<(String, AppListener)>,
    /// Ports that were closed because the node leaves, until their last connection has ended.
    drained: Vec<AppListener>,
}

impl Loaded {
    fn environment(&self) -> Environment {
        let (app, log) = (self.name.clone(), self.log.clone());
        Environment { app, log, limits: self.limits, settings: self.settings.clone() }
    }

    /// All ports that have connections or may get some.
    fn into_listeners(self) -> impl Iterator<Item = AppListener> {
        self.listeners.into_iter().map(|(_, listener)| listener).chain(self.drained)
    }

    /// Takes no new connections, and lets those that are open come to their ends.
    fn drain(&mut self) {
        for (name, listener) in self.listeners.drain(..) {
            tracing::info!(app = %self.name, listener = name, "the node leaves: its port takes no new connections");
            listener.drain();
            self.drained.push(listener);
        }
    }
}

/// The apps of a node.
#[derive(Default)]
pub(crate) struct Apps {
    loaded: Mutex<HashMap<AppId, Loaded>>,
    loading: Mutex<BTreeSet<AppId>>,
    /// Apps that could not be made ready here, by installation, and when they are tried again.
    failed: Mutex<HashMap<AppId, (u32, Instant)>>,
}

impl Apps {
    pub(crate) fn log(&self, app: AppId) -> Option<AppLog> {
        self.loaded.lock().get(&app).map(|loaded| loaded.log.clone())
    }

    pub(crate) fn roles(&self, app: AppId) -> Option<Roles> {
        self.loaded.lock().get(&app).map(|loaded| loaded.code.roles())
    }

    /// The app's code, and what its instances are given here; none until it is ready.
    pub(crate) fn instance(&self, app: AppId) -> Option<(Arc<AppCode>, Environment)> {
        self.loaded.lock().get(&app).map(|loaded| (loaded.code.clone(), loaded.environment()))
    }

    /// The ports that could not be opened, in words.
    pub(crate) fn failed_listeners(&self, app: AppId) -> Vec<String> {
        let loaded = self.loaded.lock();
        let listeners = loaded.get(&app).map(|loaded| &loaded.listeners[..]).unwrap_or_default();
        listeners
            .iter()
            .filter_map(
                |(_, listener)| if let ListenerState::Failed(why) = listener.state() { Some(why) } else { None },
            )
            .collect()
    }

    /// True while this installation of an app, which could not be made ready, is not tried again.
    fn pauses(&self, app: &App, now: Instant) -> bool {
        let mut failed = self.failed.lock();
        match failed.get(&app.id) {
            Some((install, until)) if *install == app.install && now < *until => true,
            Some(_) => failed.remove(&app.id).is_none(),
            None => false,
        }
    }

    /// Apps that are loaded here in an installation that is over, or that the rule of their keyspace does not allow here any more.
    fn gone(&self, state: &MetaState, here: NodeId) -> Vec<AppId> {
        let is_present = |id: &AppId, loaded: &Loaded| {
            let is_it = |app: &App| app.id == *id && app.install == loaded.install;
            state.apps.values().any(|app| is_it(app) && state.may_hold(app.keyspace, here))
        };
        self.loaded.lock().iter().filter(|(id, loaded)| !is_present(id, loaded)).map(|(id, _)| *id).collect()
    }

    /// Stops all ports, letting connections end.
    pub(crate) async fn stop(&self) {
        let all: Vec<_> = self.loaded.lock().drain().collect();
        for (_, loaded) in all {
            for listener in loaded.into_listeners() {
                listener.stop().await;
            }
        }
    }
}

/// Brings this node's apps into line with the state.
pub(crate) async fn follow(parts: &Arc<Parts>, state: &MetaState) {
    parts.topics.set_fences(fences(state));
    for id in parts.apps.gone(state, parts.node) {
        let loaded = parts.apps.loaded.lock().remove(&id);
        parts.host.remove_app(id);
        // Before its listeners are stopped, which wait for their calls.
        retain_routes(parts);
        for listener in loaded.into_iter().flat_map(Loaded::into_listeners) {
            listener.stop().await;
        }
    }
    // What a connection has asked meanwhile, and calls of apps that are not loaded here.
    retain_routes(parts);
    let leaves = state.is_leaving(parts.node);
    for (name, app) in state.apps.iter().filter(|(_, app)| state.may_hold(app.keyspace, parts.node)) {
        let known = parts.apps.loaded.lock().contains_key(&app.id);
        let pauses = parts.apps.pauses(app, parts.clock.now());
        if !known && !pauses && app.state != AppState::Failed && parts.apps.loading.lock().insert(app.id) {
            let (parts, name, app) = (parts.clone(), name.clone(), app.clone());
            let tasks = parts.tasks.clone();
            tasks.spawn(async move { load_and_report(&parts, &name, &app).await });
        }
        if let Some(loaded) = parts.apps.loaded.lock().get(&app.id) {
            loaded.settings.replace(settings_in_force(&app.manifest, &app.settings));
        }
        if known && app.state == AppState::Serving {
            parts.host.serve_app(app.id);
            if !leaves {
                listen(parts, app);
            }
        }
        if let Some(loaded) = parts.apps.loaded.lock().get_mut(&app.id) {
            if leaves {
                loaded.drain();
            }
            loaded.drained.retain(|listener| listener.connections() > 0);
        }
    }
    parts.context.data.set_removed_apps(state.removed_apps.keys().copied());
}

/// The nodes of apps that not every node may run.
fn fences(state: &MetaState) -> HashMap<AppId, BTreeSet<NodeId>> {
    let is_fenced =
        |app: &App| state.keyspaces.get(&app.keyspace).is_some_and(|keyspace| !keyspace.rules.require.is_empty());
    let nodes = |app: &App| state.members.keys().copied().filter(|node| state.may_hold(app.keyspace, *node)).collect();
    state.apps.values().filter(|app| is_fenced(app)).map(|app| (app.id, nodes(app))).collect()
}

/// True while this installation of an app is there and may run here.
fn is_current(parts: &Parts, app: &App) -> bool {
    let state = parts.states.borrow();
    let is_it = |now: &App| now.id == app.id && now.install == app.install;
    state.apps.values().any(|now| is_it(now) && state.may_hold(now.keyspace, parts.node))
}

/// The router keeps what it has for the apps that run here now, and for no others.
fn retain_routes(parts: &Parts) {
    let state = parts.states.borrow().clone();
    let runs_here = state.apps.values().filter(|app| state.may_hold(app.keyspace, parts.node));
    let present: BTreeSet<AppId> = runs_here.map(|app| app.id).collect();
    parts.router.retain_apps(|app| present.contains(&app));
}

/// What an app, or a package that is none, is set to, as its instances are given it.
pub(crate) fn settings_in_force(
    manifest: &Manifest,
    changed: &BTreeMap<String, SettingValue>,
) -> BTreeMap<String, String> {
    manifest.settings_in_force(changed).into_iter().map(|(name, value)| (name, value.to_string())).collect()
}

async fn load_and_report(parts: &Arc<Parts>, name: &str, app: &App) {
    let error = load(parts, name, app).await.err();
    if error.is_none() {
        tracing::info!(node = %parts.node, app = %name, version = %app.manifest.version, "the app is ready on this node");
    }
    if let Some(error) = &error {
        tracing::warn!(node = %parts.node, app = %name, %error, "the app cannot be made ready on this node");
        parts.apps.failed.lock().insert(app.id, (app.install, parts.clock.now() + RELOAD_PAUSE));
    }
    // A node that starts again has mostly reported it before.
    let reported = parts.states.borrow().readiness_on(app, parts.node).is_some_and(|report| report.error == error);
    if !reported {
        report(parts, name, app, error).await;
    }
    // Not before: a report of this try must not come after that of the next.
    parts.apps.loading.lock().remove(&app.id);
    parts.look_again.notify_one();
}

/// Reports an app's readiness, for as long as that installation is there: without the report nobody would switch the app on.
async fn report(parts: &Parts, name: &str, app: &App, error: Option<String>) {
    let command = MetaCommand::Ready { app: app.id, install: app.install, node: parts.node, error };
    while let Err(error) = parts.change(&command).await {
        tracing::warn!(app = %name, %error, "cannot report the app's readiness");
        if !is_current(parts, app) {
            return;
        }
        tokio::time::sleep(REPORT_PAUSE).await;
    }
}

async fn load(parts: &Arc<Parts>, name: &str, app: &App) -> Result<(), String> {
    let (digest, engine, granted) = (app.digest, parts.shared.engine().clone(), app.manifest.permissions.clone());
    let (archive, _pin) = parts.obtain_package(digest).await?;
    let code = task::spawn_blocking(move || -> Result<Arc<AppCode>, String> {
        engine.load(digest, &archive, &granted).map_err(|error| error.to_string())
    });
    let code = code.await.map_err(|error| error.to_string())??;
    check_roles(code.roles(), &app.manifest)?;
    check_limits(&app.manifest.limits)?;
    for listener in &app.manifest.listeners {
        check_port(parts, listener.port)?;
    }
    let limits = limits(&app.manifest.limits);
    let (log, name): (AppLog, Arc<str>) = (AppLog::new(parts.clock.clone(), limits.log()), name.into());
    let settings = Settings::default();
    settings.replace(settings_in_force(&app.manifest, &app.settings));
    let evaluated = EvaluatedApp {
        id: app.id,
        keyspace: app.keyspace,
        name: name.clone(),
        digest,
        code: code.clone(),
        limits,
        log: log.clone(),
        settings: settings.clone(),
        usage: Arc::default(),
        shared: (app.manifest.instances == Instances::Shared).then(SharedInstances::default),
    };
    let mut loaded = parts.apps.loaded.lock();
    if !is_current(parts, app) {
        return Err("it was uninstalled meanwhile, or may not run here any more".to_owned());
    }
    parts.host.add_app(evaluated);
    let (listeners, drained) = (vec![], vec![]);
    loaded.insert(app.id, Loaded { install: app.install, name, code, log, limits, settings, listeners, drained });
    Ok(())
}

/// What this version of the host cannot run is refused by name.
pub(crate) fn check_roles(roles: Roles, manifest: &Manifest) -> Result<(), String> {
    if roles.state_machine {
        return Err(
            "the component exports recoil:plugin/state-machine, which this version of Recoil does not run".to_owned()
        );
    }
    if roles.is_only_scheduler() {
        return Err("the component is a scheduler and nothing else, so there is no app to install: start the nodes of a new cluster with \
                    --scheduler FILE"
            .to_owned());
    }
    for listener in &manifest.listeners {
        let (protocol, role, exported) = match listener.protocol {
            Protocol::Tcp => ("tcp", "tcp-listener", roles.tcp_listener),
            Protocol::Http => ("http", "http-handler", roles.http_handler),
        };
        if !exported {
            let name = &listener.name;
            return Err(format!(
                "the manifest's listener '{name}' has protocol {protocol}, but the component does not export recoil:plugin/{role}: export it, \
                 or change the protocol"
            ));
        }
    }
    Ok(())
}

/// A manifest's limits, with the defaults where it says nothing, within the bounds of the table.
pub(crate) fn limits(manifest: &ManifestLimits) -> Limits {
    let mut limits = Limits::default();
    for (name, value) in &manifest.0 {
        // Which names there are is checked before an app is installed.
        limits.set(name, *value);
    }
    limits
}

/// Names in a manifest's limits that this version does not know or does not let packages set.
pub(crate) fn check_limits(manifest: &ManifestLimits) -> Result<(), String> {
    match manifest.0.keys().find(|name| !Limits::default().set(name, 0)) {
        None => Ok(()),
        Some(name) => {
            let settable = LIMITS.iter().filter(|row| row.floor < row.ceiling).map(|row| row.name).collect::<Vec<_>>();
            Err(format!("the manifest sets limits.{name}, which cannot be set; these can: {}", settable.join(", ")))
        }
    }
}

fn app_address(parts: &Parts, port: u16) -> Result<SocketAddr, String> {
    let shifted = port.checked_add(parts.options.port_offset);
    let shifted = shifted
        .ok_or_else(|| format!("port {port} and the port offset {} are above 65535", parts.options.port_offset))?;
    Ok(SocketAddr::new(parts.bound.ip(), shifted))
}

#[allow(clippy::disallowed_methods)] // a look at a port, not a server
fn check_port(parts: &Parts, port: u16) -> Result<(), String> {
    let address = app_address(parts, port)?;
    let free = std::net::TcpListener::bind(address);
    free.map(drop).map_err(|error| {
        format!(
            "cannot listen on {address}: {error}. End what listens there, or start the node with another --port-offset"
        )
    })
}

fn listen(parts: &Arc<Parts>, app: &App) {
    let mut loaded = parts.apps.loaded.lock();
    let Some(loaded) = loaded.get_mut(&app.id) else { return };
    for listener in &app.manifest.listeners {
        if loaded.listeners.iter().any(|(name, _)| *name == listener.name) {
            continue;
        }
        let Ok(address) = app_address(parts, listener.port) else { continue };
        let mut options = ListenerOptions::new(format!("{}/{}", loaded.name, listener.name), address);
        options.connections_max = loaded.limits.connections_max;
        let log = loaded.log.clone();
        options.refused = Arc::new(move |text: &str| log.push(LogLevel::Warn, None, text));
        let environment = loaded.environment();
        let (code, router, room) =
            (loaded.code.clone(), parts.router.of_app(app.id, app.keyspace), parts.shared.connections().clone());
        let handler: Arc<dyn ConnectionHandler> = match listener.protocol {
            Protocol::Tcp => Arc::new(Serving { code, environment, router, room }),
            Protocol::Http => {
                let log = environment.log.clone();
                let keeps = listener.instances == RequestInstances::Kept;
                let service = HttpService::new(code, environment, router, keeps);
                let answering = Answering { service, log, room };
                Arc::new(HttpServer::new(Arc::new(answering), loaded.limits.request_bytes_max))
            }
        };
        let started = AppListener::start(options, handler, parts.tasks.shutdown());
        loaded.listeners.push((listener.name.clone(), started));
    }
}

/// Gives each accepted connection an instance of its own.
struct Serving {
    code: Arc<AppCode>,
    environment: Environment,
    router: Arc<dyn recoil_engine::Router>,
    room: Arc<Semaphore>,
}

#[async_trait]
impl ConnectionHandler for Serving {
    async fn serve(&self, stream: TcpStream, peer: SocketAddr, closing: Shutdown) {
        let Ok(_place) = self.room.try_acquire() else {
            let text = format!("the connection from {peer} was closed: this node's programs serve as many as they can");
            return self.environment.log.push(LogLevel::Warn, None, &text);
        };
        // How it ended, if not well, is in the log already.
        let serve = |stream| self.code.serve(stream, self.environment.clone(), self.router.clone());
        let served = end_reading(stream, closing, serve).await;
        if let Err(error) = served {
            tracing::debug!(%peer, %error, "a connection ended");
        }
    }
}

/// Answers HTTP requests by instances that are kept between them.
struct Answering {
    service: Arc<HttpService>,
    log: AppLog,
    /// Instances that may wait, of all apps of this node together: connections, and requests under way.
    room: Arc<Semaphore>,
}

fn text(error: &HttpError) -> Response {
    let status = match error {
        HttpError::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
        HttpError::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        HttpError::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        HttpError::Silent(_) => StatusCode::REQUEST_TIMEOUT,
    };
    Response::text(status, &format!("{error}; its log says more"))
}

#[async_trait]
impl Responder for Answering {
    fn streams(&self) -> bool {
        self.service.streams()
    }

    async fn stream(&self, peer: SocketAddr, request: hyper::Request<StreamBody>) -> hyper::Response<StreamBody> {
        let Ok(place) = self.room.clone().try_acquire_owned() else {
            return Response::text(StatusCode::SERVICE_UNAVAILABLE, &HttpError::NoRoom.to_string()).into_stream();
        };
        match self.service.stream(peer, request, place).await {
            Ok(response) => response,
            Err(error) => text(&error).into_stream(),
        }
    }

    async fn respond(&self, peer: SocketAddr, request: Request) -> Response {
        let Ok(_place) = self.room.try_acquire() else {
            return Response::text(StatusCode::SERVICE_UNAVAILABLE, &HttpError::NoRoom.to_string());
        };
        let Request { method, path, query, headers, body } = request;
        let request = HttpRequest { method, path, query, headers, body, peer_address: peer.to_string() };
        match self.service.respond(peer, request).await {
            Ok(HttpResponse { status, headers, body }) => Response { status, headers, body },
            Err(error) => text(&error),
        }
    }

    fn complain(&self, text: &str) {
        self.log.push(LogLevel::Error, None, text);
    }
}
