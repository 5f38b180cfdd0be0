//! What operators ask of a node. Every node answers everything, from the meta state it follows; changes go to the meta leader.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use recoil_base::{Digest, NodeId};
use recoil_cluster::MetaCommand;
use recoil_cluster::meta::{self, App, ClusterChange, KEYSPACES_LEVEL, MemberState, MetaState, Refusal, RefusalKind};
use recoil_gateway::api::{
    AdminApi, AdminError, AppCommand, AppData, AppDetail, AppOnNode, AppState, AppSummary, ClusterRequest,
    ClusterStatus, CollectReply, CreateKeyspace, DecommissionReply, DecommissionRequest, Health, InstallRequest,
    KeyspaceDetail, KeyspaceStatus, LimitInForce, ListenerSummary, LogLine, LogPage, MoveRequest, MoveStatus,
    NodeDetail, PackageSummary, PartitionStatus, RecoverReply, RecoverRequest, SetKeyspace, Status,
};
use recoil_oci::{InvalidName, PackageReference};
use recoil_package::{Manifest, Permission, SettingValue};
use recoil_registry_server::{Collected, PullError, StoreError};
use tokio::net::TcpStream;

use crate::membership::ChangeError;
use crate::node::Parts;
use crate::packages::Pin;
use crate::{apps, registry};

/// How long an install may take: compiling on the slowest node.
const INSTALL_DEADLINE: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a refused change means to whoever asked for it.
fn refused(Refusal { kind, message }: Refusal, hint: &str) -> AdminError {
    match kind {
        RefusalKind::NotFound => AdminError::not_found(message, hint),
        RefusalKind::Conflict | RefusalKind::Forbidden => AdminError::conflict(message, hint),
        RefusalKind::Invalid => AdminError::invalid(message, hint),
    }
}

impl ChangeError {
    /// The error of the admin API; `hint` says what to do about a refusal.
    pub(crate) fn with_hint(self, hint: &str) -> AdminError {
        match self {
            ChangeError::Rejected(refusal) => refused(refusal, hint),
            error @ ChangeError::Unavailable(_) => error.into(),
        }
    }
}

impl From<ChangeError> for AdminError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Rejected(refusal) => {
                let hint = if refusal.kind == RefusalKind::NotFound { "see recoilctl list" } else { "" };
                refused(refusal, hint)
            }
            ChangeError::Unavailable(text) => {
                AdminError::unavailable(text, "retry; if it stays so, see recoilctl status for nodes that are down")
            }
        }
    }
}

pub(crate) fn not_installed(name: &str) -> AdminError {
    AdminError::not_found(format!("there is no app named {name}"), "recoilctl list shows the installed apps")
}

impl Parts {
    pub(crate) fn summary(&self, state: &MetaState, name: &str, app: &App) -> AppSummary {
        let addresses = |port: u16| {
            let address = |member: &meta::Member| {
                Some(SocketAddr::new(member.address.ip(), port.checked_add(member.port_offset)?).to_string())
            };
            let listens = |node: &NodeId, member: &meta::Member| {
                member.state == MemberState::Active && state.may_hold(app.keyspace, *node)
            };
            let listening = ordered(state).into_iter().filter(|(node, member)| listens(node, member));
            listening.filter_map(|(_, member)| address(member)).collect()
        };
        let listeners = app
            .manifest
            .listeners
            .iter()
            .map(|l| ListenerSummary { name: l.name.clone(), addresses: addresses(l.port) })
            .collect();
        AppSummary {
            name: name.into(),
            version: app.manifest.version.clone(),
            digest: app.digest,
            keyspace: state.keyspaces.get(&app.keyspace).map(|of| of.name.clone()).unwrap_or_default(),
            state: match app.state {
                meta::AppState::Installing => AppState::Installing,
                meta::AppState::Serving => AppState::Serving,
                meta::AppState::Failed => AppState::Failed,
            },
            listeners,
            nodes_ready: {
                let counts = |node: NodeId| state.is_active(node) && state.may_hold(app.keyspace, node);
                let reports = state.readiness_of(app).filter(|(node, _)| counts(*node));
                reports.filter(|(_, report)| report.error.is_none()).count() as u32
            },
            nodes: state.active_members().filter(|(node, _)| state.may_hold(app.keyspace, **node)).count() as u32,
        }
    }

    /// A package that was uploaded to this node or another, or that the cluster uses.
    async fn stored_package(&self, digest: Digest) -> Result<Installable, AdminError> {
        let found = self.find_package(digest).await.map_err(|why| AdminError::internal(why, ""))?;
        let (archive, pin) = found.ok_or_else(|| {
            AdminError::not_found(
                format!("package {digest} is not stored in the cluster"),
                "upload it first, and install it soon after: recoilctl install ./FILE.wasm",
            )
        })?;
        let (manifest, bundled) = (read_manifest(&archive)?, self.is_bundled(&archive));
        Ok(Installable { digest, size: archive.len() as u64, manifest, artifact: None, bundled, pin })
    }

    /// Installs and waits until every live node takes connections.
    pub(crate) async fn install_and_wait(&self, request: InstallRequest) -> Result<AppSummary, AdminError> {
        let mut package = match (&request.name, request.digest) {
            (Some(name), _) => self.pull_package(name).await?,
            (None, Some(digest)) => self.stored_package(digest).await?,
            (None, None) => return Err(AdminError::invalid("the request names no package", "send a name or a digest")),
        };
        let manifest = &mut package.manifest;
        check_granted(manifest, request.grant.as_ref())?;
        listen_elsewhere(manifest, &request.listen)?;
        let settings = parse_settings(manifest, &request.set)?;
        let name = request.app.unwrap_or_else(|| manifest.name.clone());
        check_own(&name)?;
        self.install_as(name, package, (settings, request.keyspace)).await
    }

    /// Stores a package of the cluster's own registry on this node.
    async fn pull_package(&self, name: &str) -> Result<Installable, AdminError> {
        let reference: PackageReference =
            name.parse().map_err(|error: InvalidName| AdminError::invalid(error.to_string(), ""))?;
        let hint =
            "recoilctl registry list shows where packages are looked for, recoilctl registry packages what is there";
        let (artifact, archive) = self.registry.component(&reference).await.map_err(|error| match error {
            PullError::NotFound(why) => AdminError::not_found(why, hint),
            PullError::Unfit(why) => AdminError::invalid(why, hint),
            PullError::Damaged(why) => AdminError::internal(why, "push it again"),
            PullError::Store(error) => store_error(error),
        })?;
        let package = self.upload_package(archive).await?;
        Ok(Installable { artifact: Some(artifact.into()), ..package })
    }

    async fn upload_package(&self, archive: Bytes) -> Result<Installable, AdminError> {
        let manifest = read_manifest(&archive)?;
        let (digest, size) = (Digest::of(&archive), archive.len() as u64);
        let bundled = self.is_bundled(&archive);
        let stored = self.store_upload(digest, archive).await;
        let pin = stored.map_err(|why| AdminError::internal(format!("the package is not stored: {why}"), ""))?;
        Ok(Installable { digest, size, manifest, artifact: None, bundled, pin })
    }

    /// True for a package that came with this program. By its bytes: one of the same name may come from anywhere.
    fn is_bundled(&self, archive: &[u8]) -> bool {
        self.options.packages.iter().any(|package| package.archive == archive)
    }

    /// Makes sure that the package which keeps the registry's records serves.
    pub(crate) async fn install_registry(&self) -> Result<(), AdminError> {
        let bundled = self.options.packages.iter().find(|package| package.name == registry::APP);
        let bundled = bundled.ok_or_else(|| {
            AdminError::unavailable(
                "this node came without the package that keeps the registry's records",
                "ask another",
            )
        })?;
        let package = self.upload_package(Bytes::from_static(bundled.archive)).await?;
        self.install_as(registry::APP.into(), package, (BTreeMap::new(), None)).await.map(drop)
    }

    async fn install_as(
        &self,
        name: String,
        package: Installable,
        (settings, keyspace): (BTreeMap<String, SettingValue>, Option<String>),
    ) -> Result<AppSummary, AdminError> {
        let Installable { digest, size, manifest, pin, .. } = package;
        let (source, manifest) = (self.node, Box::new(manifest));
        // The default one needs no naming, nor a feature level.
        let keyspace =
            keyspace.filter(|keyspace| keyspace != "default" || self.states.borrow().header.level >= KEYSPACES_LEVEL);
        let command = MetaCommand::Install { name: name.clone(), digest, size, source, manifest, settings, keyspace };
        self.change(&command).await?;
        // From here on the state names it.
        drop(pin);
        let waited = tokio::time::timeout(INSTALL_DEADLINE, self.wait_serving(&name)).await;
        waited.unwrap_or_else(|_| {
            let why = self.reason_not_ready().unwrap_or_else(|| "some node is still making it ready".into());
            Err(AdminError::unavailable(
                format!("{name} does not serve everywhere yet: {why}"),
                format!("recoilctl inspect {name} tells how each node stands"),
            ))
        })
    }

    /// Returns once every live node takes connections for the app, or it failed.
    pub(crate) async fn wait_serving(&self, name: &str) -> Result<AppSummary, AdminError> {
        let mut states = self.states.clone();
        loop {
            let state = states.borrow_and_update().clone();
            let app = state.apps.get(name).ok_or_else(|| not_installed(name))?;
            match app.state {
                meta::AppState::Failed => {
                    let reports = state.readiness_of(app);
                    let why: Vec<String> = reports
                        .filter_map(|(node, report)| Some(format!("node {node}: {}", report.error.as_ref()?)))
                        .collect();
                    let hint = "mend the cause, then install it again; uninstalling it first would remove data that it has kept".to_owned();
                    return Err(AdminError::conflict(format!("{name} cannot be made ready: {}", why.join("; ")), hint));
                }
                meta::AppState::Serving => break,
                meta::AppState::Installing => {}
            }
            states.changed().await.map_err(|_| AdminError::unavailable("the node is stopping", "ask another node"))?;
        }
        loop {
            let state = self.states.borrow().clone();
            let app = state.apps.get(name).ok_or_else(|| not_installed(name))?;
            if self.accepts_everywhere(&state, app).await {
                return Ok(self.summary(&state, name, app));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn accepts_everywhere(&self, state: &MetaState, app: &App) -> bool {
        let listens = |node: &NodeId| {
            self.peers.is_live(*node) && !state.is_leaving(*node) && state.may_hold(app.keyspace, *node)
        };
        for (_, member) in state.members.iter().filter(|(node, _)| listens(node)) {
            for port in
                app.manifest.listeners.iter().filter_map(|listener| listener.port.checked_add(member.port_offset))
            {
                if TcpStream::connect((member.address.ip(), port)).await.is_err() {
                    return false;
                }
            }
        }
        true
    }
}

/// A package that this node holds, and keeps while it is being installed.
struct Installable {
    digest: Digest,
    size: u64,
    manifest: Manifest,
    artifact: Option<String>,
    bundled: bool,
    pin: Pin,
}

impl From<Installable> for PackageSummary {
    fn from(package: Installable) -> Self {
        let Installable { digest, manifest, artifact, bundled, .. } = package;
        let (name, version) = (manifest.name.clone(), manifest.version.clone());
        PackageSummary { digest, name, version, manifest, artifact, bundled }
    }
}

pub(crate) fn ordered(state: &MetaState) -> Vec<(&NodeId, &meta::Member)> {
    let mut members: Vec<_> = state.members.iter().collect();
    members.sort_by_key(|(_, member)| member.number);
    members
}

fn role_names(roles: recoil_engine::Roles) -> Vec<String> {
    let named = [
        (roles.handler, "handler"),
        (roles.tcp_listener, "tcp-listener"),
        (roles.timer, "timer"),
        (roles.http_handler, "http-handler"),
        (roles.state_machine, "state-machine"),
        (roles.scheduler, "scheduler"),
        (roles.admin, "admin"),
    ];
    named.into_iter().filter(|(has, _)| *has).map(|(_, name)| name.into()).collect()
}

/// What a package asks for it gets whole, or it is not installed.
fn check_granted(manifest: &Manifest, granted: Option<&BTreeSet<Permission>>) -> Result<(), AdminError> {
    let beyond = granted.map(|granted| manifest.not_granted(granted)).unwrap_or_default();
    if beyond.is_empty() {
        return Ok(());
    }
    let words = beyond.iter().map(|permission| format!("{permission} ({})", permission.what()));
    Err(AdminError::invalid(
        format!(
            "{} {} asks for what is not granted: {}",
            manifest.name,
            manifest.version,
            words.collect::<Vec<_>>().join(", ")
        ),
        "grant it, too, or install a build that does not ask for it in recoil.toml",
    ))
}

/// Gives listeners other ports than the package asks for.
fn listen_elsewhere(manifest: &mut Manifest, ports: &BTreeMap<String, u16>) -> Result<(), AdminError> {
    for (name, port) in ports {
        let names: Vec<String> = manifest.listeners.iter().map(|listener| listener.name.clone()).collect();
        let Some(listener) = manifest.listeners.iter_mut().find(|listener| listener.name == *name) else {
            let hint = if names.is_empty() {
                "it has none: leave --listen out".to_owned()
            } else {
                format!("it has {}: use --listen {}={port}", names.join(", "), names[0])
            };
            return Err(AdminError::invalid(format!("{} has no listener named {name}", manifest.name), hint));
        };
        listener.port = *port;
    }
    manifest.validate().map_err(|error| AdminError::invalid(error.to_string(), "give each listener a port of its own"))
}

fn parse_settings(
    manifest: &Manifest,
    texts: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, SettingValue>, AdminError> {
    let parsed = texts.iter().map(|(name, text)| Ok((name.clone(), manifest.parse_setting(name, text)?)));
    parsed
        .collect::<Result<_, String>>()
        .map_err(|why| AdminError::invalid(why, "recoilctl inspect shows an app's settings"))
}

/// Names of apps that the nodes install themselves are not for others.
fn check_own(name: &str) -> Result<(), AdminError> {
    match name.starts_with(registry::OWN) {
        false => Ok(()),
        true => Err(AdminError::conflict(
            format!("{name} is an app of the nodes themselves, as all are whose names begin with {}", registry::OWN),
            "leave it alone, or use another name",
        )),
    }
}

fn store_error(error: StoreError) -> AdminError {
    match error {
        StoreError::Unavailable(why) => {
            AdminError::unavailable(why, "retry; see recoilctl status for nodes that are down")
        }
        StoreError::Rejected(why) => AdminError::invalid(why, ""),
        StoreError::Failed(why) => AdminError::internal(why, "the node's log says more"),
    }
}

fn read_manifest(archive: &[u8]) -> Result<Manifest, AdminError> {
    recoil_package::read(archive).map_err(|error| AdminError::invalid(error.to_string(), ""))
}

#[async_trait]
impl AdminApi for Parts {
    async fn status(&self) -> Result<Status, AdminError> {
        Ok(self.status_now())
    }

    async fn health(&self) -> Health {
        let reason = self.reason_not_ready();
        Health { ready: reason.is_none(), reason }
    }

    async fn apps(&self) -> Result<Vec<AppSummary>, AdminError> {
        Ok(self.status_now().apps)
    }

    async fn app(&self, name: &str) -> Result<AppDetail, AdminError> {
        let state = self.states.borrow().clone();
        let app = state.apps.get(name).ok_or_else(|| not_installed(name))?;
        let roles = self.apps.roles(app.id);
        let roles = roles.map(role_names).unwrap_or_default();
        let limits = apps::limits(&app.manifest.limits);
        let on_nodes = ordered(&state).into_iter().filter(|(node, _)| state.may_hold(app.keyspace, **node));
        let on_nodes = on_nodes.map(|(node, _)| {
            let said = state.readiness_on(app, *node);
            let mut error = said.and_then(|report| report.error.clone());
            if *node == self.node && error.is_none() {
                error = self.apps.failed_listeners(app.id).into_iter().next();
            }
            AppOnNode { node: *node, ready: said.is_some() && error.is_none(), error }
        });
        Ok(AppDetail {
            summary: self.summary(&state, name, app),
            roles,
            limits: recoil_engine::LIMITS
                .iter()
                .map(|row| LimitInForce {
                    name: row.name.to_owned(),
                    value: (row.get)(&limits),
                    default: (row.get)(&Default::default()),
                    most: row.ceiling,
                    what: row.what.to_owned(),
                    above: row.above.to_owned(),
                })
                .collect(),
            on_nodes: on_nodes.collect(),
            settings: app.manifest.settings_in_force(&app.settings),
            manifest: (*app.manifest).clone(),
        })
    }

    async fn install(&self, request: InstallRequest) -> Result<AppSummary, AdminError> {
        self.install_and_wait(request).await
    }

    async fn upload(&self, archive: Bytes) -> Result<PackageSummary, AdminError> {
        self.upload_package(archive).await.map(Into::into)
    }

    async fn pull(&self, name: &str) -> Result<PackageSummary, AdminError> {
        self.pull_package(name).await.map(Into::into)
    }

    async fn collect(&self, kept: Duration) -> Result<CollectReply, AdminError> {
        let collected = self.registry.collect(self.clock.wall_us(), kept).await.map_err(store_error)?;
        let Collected { links, contents, bytes } = collected;
        Ok(CollectReply { links, contents, bytes })
    }

    async fn set(
        &self,
        name: &str,
        values: BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, SettingValue>, AdminError> {
        let app = self.states.borrow().apps.get(name).cloned().ok_or_else(|| not_installed(name))?;
        let settings = parse_settings(&app.manifest, &values)?;
        self.change(&MetaCommand::Set { name: name.into(), settings: settings.clone() }).await?;
        Ok(app.manifest.settings_in_force(&app.settings.into_iter().chain(settings).collect()))
    }

    async fn data(&self, app: Option<&str>) -> Result<Vec<AppData>, AdminError> {
        self.data_of(app).await
    }

    async fn delete_data(&self, app: &str) -> Result<(), AdminError> {
        check_own(app)?;
        let kept = {
            let state = self.states.borrow();
            if state.apps.contains_key(app) {
                let hint = format!("recoilctl uninstall {app} removes the app and its data");
                return Err(AdminError::conflict(format!("{app} is installed and uses its data"), hint));
            }
            state.kept.get(app).map(|kept| kept.id)
        };
        let kept = kept.ok_or_else(|| {
            let hint = "recoilctl data list shows whose data are kept";
            AdminError::not_found(format!("there is no data kept of an app named {app}"), hint)
        })?;
        Ok(self.change(&MetaCommand::DeleteData { name: app.into(), app: kept }).await?)
    }

    async fn uninstall(&self, name: &str, keep_data: bool) -> Result<(), AdminError> {
        check_own(name)?;
        let app = self.states.borrow().apps.get(name).cloned();
        self.change(&MetaCommand::Uninstall { name: name.into(), keep_data }).await?;
        // Of an app whose data was kept nothing else is left.
        let Some(app) = app else { return Ok(()) };
        let closed = async {
            loop {
                let state = self.states.borrow().clone();
                let mut open = false;
                // Elsewhere other apps may have the same ports.
                let had = |node: &NodeId| self.peers.is_live(*node) && state.may_hold(app.keyspace, *node);
                for (_, member) in state.members.iter().filter(|(node, _)| had(node)) {
                    for port in app
                        .manifest
                        .listeners
                        .iter()
                        .filter_map(|listener| listener.port.checked_add(member.port_offset))
                    {
                        open |= TcpStream::connect((member.address.ip(), port)).await.is_ok();
                    }
                }
                if !open {
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let waited = tokio::time::timeout(INSTALL_DEADLINE, closed).await;
        waited.map_err(|_| {
            AdminError::unavailable(
                format!("{name} is uninstalled, but a node still takes connections"),
                "see recoilctl status",
            )
        })
    }

    async fn commands(&self, name: &str) -> Result<Vec<AppCommand>, AdminError> {
        self.commands_of(name).await
    }

    async fn run_command(&self, name: &str, arguments: Vec<String>) -> Result<String, AdminError> {
        self.run_command_of(name, arguments).await
    }

    async fn logs(&self, name: &str, since: u64, limit: usize, wait: Duration) -> Result<LogPage, AdminError> {
        let id = self.states.borrow().apps.get(name).map(|app| app.id).ok_or_else(|| not_installed(name))?;
        let Some(log) = self.apps.log(id) else { return Ok(LogPage { lines: vec![], next: since }) };
        let mut changed = log.changed();
        let (mut lines, mut next) = log.since(since, limit);
        if lines.is_empty() && !wait.is_zero() {
            let _ = tokio::time::timeout(wait, changed.changed()).await;
            (lines, next) = log.since(since, limit);
        }
        let line = |line: recoil_engine::LogLine| LogLine {
            sequence: line.sequence,
            time_us: line.time_us,
            level: line.level.as_str().into(),
            node: self.node,
            partition: line.partition,
            message: line.message,
        };
        Ok(LogPage { lines: lines.into_iter().map(line).collect(), next })
    }

    async fn node(&self, node: NodeId) -> Result<NodeDetail, AdminError> {
        self.node_now(node)
    }

    async fn drain(&self, node: NodeId) -> Result<NodeDetail, AdminError> {
        self.drain_node(node).await
    }

    async fn undrain(&self, node: NodeId) -> Result<NodeDetail, AdminError> {
        self.undrain_node(node).await
    }

    async fn decommission(&self, node: NodeId, request: DecommissionRequest) -> Result<DecommissionReply, AdminError> {
        self.decommission_node(node, request).await
    }

    async fn keyspaces(&self) -> Result<Vec<KeyspaceStatus>, AdminError> {
        Ok(self.keyspaces_now())
    }

    async fn keyspace(&self, name: &str) -> Result<KeyspaceDetail, AdminError> {
        self.keyspace_now(name)
    }

    async fn create_keyspace(&self, request: CreateKeyspace) -> Result<KeyspaceDetail, AdminError> {
        self.create_keyspace_of(request).await
    }

    async fn set_keyspace(&self, name: &str, request: SetKeyspace) -> Result<KeyspaceDetail, AdminError> {
        self.set_keyspace_of(name, request).await
    }

    async fn delete_keyspace(&self, name: &str) -> Result<(), AdminError> {
        self.delete_keyspace_of(name).await
    }

    async fn partitions(&self, keyspace: Option<&str>) -> Result<Vec<PartitionStatus>, AdminError> {
        self.partitions_now(keyspace)
    }

    async fn partition(&self, keyspace: Option<&str>, partition: u32) -> Result<PartitionStatus, AdminError> {
        self.partition_now(keyspace, partition)
    }

    async fn moves(&self) -> Result<Vec<MoveStatus>, AdminError> {
        Ok(self.moves_now())
    }

    async fn start_moves(&self, request: MoveRequest) -> Result<Vec<MoveStatus>, AdminError> {
        self.move_partitions(request).await
    }

    async fn cancel_move(&self, id: u64) -> Result<(), AdminError> {
        let cancelled = self.change(&MetaCommand::CancelMove { id }).await;
        cancelled.map_err(|error| error.with_hint("recoilctl moves shows those that have not ended"))
    }

    async fn cluster(&self) -> Result<ClusterStatus, AdminError> {
        Ok(self.cluster_now())
    }

    async fn recover(&self, request: RecoverRequest) -> Result<RecoverReply, AdminError> {
        let parts = self.this.upgrade().ok_or_else(|| AdminError::unavailable("the node is stopping", ""))?;
        parts.recover_cluster(request).await
    }

    async fn set_cluster(&self, request: ClusterRequest) -> Result<ClusterStatus, AdminError> {
        let ClusterRequest { repair_after_seconds, move_rate_bytes, balance, paused } = request;
        let change = ClusterChange {
            repair_after_s: repair_after_seconds,
            move_rate_bytes,
            balances: balance,
            is_paused: paused,
        };
        self.change(&MetaCommand::SetCluster(change)).await?;
        Ok(self.cluster_now())
    }
}
