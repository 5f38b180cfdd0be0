//! Apps: installing, readiness, switching on, settings, uninstalling, and the packages that they use.
//!
//! A package is recorded from the first installation that uses it to the uninstallation of the last, and nodes keep its bytes
//! accordingly. Who holds them follows from what is recorded anyway: the node that an installation names as its source, and those that
//! reported an app of that package as ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use recoil_base::{AppId, Digest, KeyspaceId, NodeId};
use recoil_package::{Manifest, SettingValue};

use super::rows::RowKey;
use super::{
    APP_NAME_BYTES_MAX, App, AppState, Changes, DEFAULT_KEYSPACE, KeptData, Member, MetaReply, MetaState,
    PACKAGE_BYTES_MAX, PackageRecord, Readiness, Refusal,
};

/// Bytes of a reason why a node cannot make an app ready; the rest is cut off.
const REASON_BYTES_MAX: usize = 1024;

impl MetaState {
    /// What each node reported of this installation of an app.
    pub fn readiness_of(&self, app: &App) -> impl Iterator<Item = (NodeId, &Readiness)> {
        let install = app.install;
        self.reports(app.id).filter(move |(_, report)| report.install == install)
    }

    /// What a node reported of this installation of an app.
    pub fn readiness_on(&self, app: &App, node: NodeId) -> Option<&Readiness> {
        self.readiness.get(&(app.id, node)).filter(|report| report.install == app.install)
    }

    /// The nodes that hold a package's bytes, as far as they have reported.
    pub fn holders(&self, digest: Digest) -> BTreeSet<NodeId> {
        let users = self.apps.values().filter(|app| app.digest == digest);
        let ready = users.flat_map(|app| self.reports(app.id)).filter(|(_, report)| report.error.is_none());
        let source = self.packages.get(&digest).map(|package| package.source);
        ready.map(|(node, _)| node).chain(source).collect()
    }

    fn reports(&self, app: AppId) -> impl Iterator<Item = (NodeId, &Readiness)> {
        let all = (app, NodeId(0))..=(app, NodeId(u32::MAX));
        self.readiness.range(all).map(|((_, node), report)| (*node, report))
    }

    pub(super) fn install(
        &mut self,
        name: String,
        (digest, package): (Digest, PackageRecord),
        manifest: Manifest,
        (mut settings, keyspace): (BTreeMap<String, SettingValue>, Option<String>),
        changes: &mut Changes,
    ) -> MetaReply {
        let wanted = keyspace.map(|name| self.keyspace_named(&name).map(|(id, _)| id)).transpose()?;
        if name.is_empty() || name.len() > APP_NAME_BYTES_MAX {
            return Err(Refusal::invalid(format!(
                "an app's name has 1 to {APP_NAME_BYTES_MAX} bytes, not {}",
                name.len()
            )));
        }
        let size = self.packages.get(&digest).map_or(package.size, |known| known.size);
        if package.size > PACKAGE_BYTES_MAX || package.size != size {
            return Err(Refusal::invalid(format!(
                "package {digest} is said to have {} bytes, which is wrong or more than the {PACKAGE_BYTES_MAX} allowed; upload it again",
                package.size
            )));
        }
        if let Some(app) = self.apps.get(&name) {
            let app = app.clone();
            self.check_keyspace(&name, app.keyspace, wanted)?;
            return self.install_again(name, app, (digest, package), &manifest, &settings, changes);
        }
        let kept = self.kept.get(&name).map(|kept| kept.keyspace);
        if let Some(kept) = kept {
            self.check_keyspace(&name, kept, wanted)?;
        }
        let keyspace = kept.or(wanted).unwrap_or(DEFAULT_KEYSPACE);
        self.check_ports(&name, &manifest, keyspace)?;
        let id = match self.kept.get(&name) {
            Some(kept) if kept.package != manifest.name => {
                return Err(Refusal::conflict(format!(
                    "the data of an app named {name} is kept, of another package ({}): install under another name, or remove the data \
                     (recoilctl uninstall {name})",
                    kept.package
                )));
            }
            Some(kept) => {
                // What the app was set to holds, where this version still has such a setting.
                for (setting, value) in &kept.settings {
                    if !settings.contains_key(setting)
                        && let Ok(value) = manifest.parse_setting(setting, &value.to_string())
                    {
                        settings.insert(setting.clone(), value);
                    }
                }
                kept.id
            }
            None => {
                self.header.next_app += 1;
                AppId(self.header.next_app - 1)
            }
        };
        if self.kept.remove_mut(&name) {
            changes.push(RowKey::Kept(name.clone()));
        }
        self.hold(digest, package, changes);
        self.header.next_install += 1;
        let (install, state, manifest) = (self.header.next_install, AppState::Installing, Arc::new(manifest));
        changes.push(RowKey::App(name.clone()));
        self.apps.insert_mut(name, App { id, install, digest, manifest, keyspace, state, settings });
        Ok(())
    }

    /// Refuses to look for an app's data in another keyspace than they are in.
    fn check_keyspace(&self, name: &str, is: KeyspaceId, wanted: Option<KeyspaceId>) -> MetaReply {
        if wanted.is_none_or(|wanted| wanted == is) {
            return Ok(());
        }
        let keyspace = self.keyspaces.get(&is).map_or("default", |keyspace| keyspace.name.as_str());
        Err(Refusal::conflict(format!(
            "the data of {name} are in keyspace {keyspace}, and an app cannot change its keyspace: leave --keyspace out, or install under \
             another name"
        )))
    }

    /// Installs under a name that is taken: nothing to do, another try after a failure, or a refusal.
    fn install_again(
        &mut self,
        name: String,
        app: App,
        (digest, package): (Digest, PackageRecord),
        manifest: &Manifest,
        settings: &BTreeMap<String, SettingValue>,
        changes: &mut Changes,
    ) -> MetaReply {
        if app.digest != digest {
            return Err(Refusal::conflict(format!(
                "an app named {name} with another package ({}) is installed; uninstall it first",
                app.digest
            )));
        }
        if !settings.is_empty() && app.settings != *settings {
            return Err(Refusal::conflict(format!(
                "{name} is installed with other settings; change them with recoilctl set"
            )));
        }
        if *app.manifest != *manifest {
            return Err(Refusal::conflict(format!("{name} is installed with other ports; uninstall it first")));
        }
        if app.state != AppState::Serving {
            self.hold(digest, package, changes);
        }
        if app.state == AppState::Failed {
            // Another installation: what nodes reported of the failed one counts no more, and they report again.
            self.header.next_install += 1;
            let app = App { install: self.header.next_install, state: AppState::Installing, ..app };
            changes.push(RowKey::App(name.clone()));
            self.apps.insert_mut(name, app);
        }
        Ok(())
    }

    /// Records where a package is now: the source of an earlier installation may be lost before another node had fetched it.
    fn hold(&mut self, digest: Digest, package: PackageRecord, changes: &mut Changes) {
        if self.packages.get(&digest) != Some(&package) {
            self.packages.insert_mut(digest, package);
            changes.push(RowKey::Package(digest));
        }
    }

    /// Nodes on one machine have different offsets: two ports may be the same address, each on another node. What the apps that are there
    /// have among themselves, since a member joined later, is not held against another one.
    fn check_ports(&self, name: &str, manifest: &Manifest, keyspace: KeyspaceId) -> MetaReply {
        let mut taken = BTreeMap::new();
        let others = self.apps.iter().map(|(other, app)| (other.as_str(), &*app.manifest, app.keyspace));
        for (app, manifest, keyspace) in others.chain([(name, manifest, keyspace)]) {
            let ports = || manifest.listeners.iter().map(|listener| listener.port);
            let listens = |node: &NodeId, member: &Member| !member.address_taken && self.may_hold(keyspace, *node);
            let members = self.members.iter().filter(|(node, member)| listens(node, member));
            for (member, port) in members.flat_map(|(_, member)| ports().map(move |port| (member, port))) {
                let address = (member.address.ip(), u32::from(port) + u32::from(member.port_offset));
                let Some((other, used)) = taken.insert(address, (app, port)).filter(|_| app == name) else { continue };
                return Err(Refusal::conflict(match used == port {
                    true => format!(
                        "port {port} is already used by the app {other}: uninstall it first, or install with another port (recoilctl install \
                         --listen)"
                    ),
                    false => format!(
                        "port {port} of {app} and port {used} of {other} are both {}:{}, on nodes of one machine whose ports are apart by their \
                         offsets: install with ports that are farther apart (recoilctl install --listen)",
                        address.0, address.1
                    ),
                }));
            }
        }
        Ok(())
    }

    pub(super) fn set(
        &mut self,
        name: String,
        settings: BTreeMap<String, SettingValue>,
        changes: &mut Changes,
    ) -> MetaReply {
        let mut app =
            self.apps.get(&name).cloned().ok_or_else(|| Refusal::not_found(format!("there is no app named {name}")))?;
        // Checked by whoever asked; once more here, where the manifest cannot change any more.
        for (setting, value) in &settings {
            app.manifest.parse_setting(setting, &value.to_string()).map_err(Refusal::invalid)?;
        }
        app.settings.extend(settings);
        changes.push(RowKey::App(name.clone()));
        self.apps.insert_mut(name, app);
        Ok(())
    }

    pub(super) fn ready(
        &mut self,
        id: AppId,
        node: NodeId,
        install: u32,
        mut error: Option<String>,
        changes: &mut Changes,
    ) -> MetaReply {
        let (name, mut app) = self.installation(id, install)?;
        if !self.members.contains_key(&node) {
            return Err(Refusal::not_found(format!("node {node} is not a member of the cluster")));
        }
        if !self.may_hold(app.keyspace, node) {
            return Err(Refusal::forbidden(format!("the rule of its keyspace keeps {name} from node {node}")));
        }
        if let Some(error) = &mut error {
            error.truncate(error.floor_char_boundary(REASON_BYTES_MAX));
        }
        let failed = error.is_some();
        self.readiness.insert_mut((id, node), Readiness { install, error });
        changes.push(RowKey::Readiness(id, node));
        if failed && app.state == AppState::Installing {
            app.state = AppState::Failed;
            changes.push(RowKey::App(name.clone()));
            self.apps.insert_mut(name, app);
        }
        Ok(())
    }

    pub(super) fn serve(&mut self, id: AppId, install: u32, changes: &mut Changes) -> MetaReply {
        let (name, mut app) = self.installation(id, install)?;
        if app.state == AppState::Installing {
            app.state = AppState::Serving;
            let digest = app.digest;
            changes.push(RowKey::App(name.clone()));
            self.apps.insert_mut(name, app);
            self.leave_source(digest, changes);
            self.routing_changed();
        }
        Ok(())
    }

    /// A package that was uploaded to a node where the rules of its apps' keyspaces keep it from staying is had from another node.
    fn leave_source(&mut self, digest: Digest, changes: &mut Changes) {
        let Some(package) = self.packages.get(&digest).copied() else { return };
        if self.may_have_package(digest, package.source) {
            return;
        }
        let allowed = |node: &NodeId| self.may_have_package(digest, *node);
        if let Some(source) = self.holders(digest).into_iter().find(allowed) {
            self.packages.insert_mut(digest, PackageRecord { source, ..package });
            changes.push(RowKey::Package(digest));
        }
    }

    pub(super) fn delete_data(&mut self, name: String, app: AppId, changes: &mut Changes) -> MetaReply {
        if self.apps.contains_key(&name) {
            return Err(Refusal::conflict(format!(
                "{name} is installed and uses its data: recoilctl uninstall {name} removes both"
            )));
        }
        if self.kept.get(&name).is_none_or(|kept| kept.id != app) {
            return Err(Refusal::not_found(format!("there is no data kept of an app named {name}")));
        }
        self.kept.remove_mut(&name);
        changes.push(RowKey::Kept(name));
        self.removed_apps.insert_mut(app, ());
        changes.push(RowKey::RemovedApp(app));
        Ok(())
    }

    pub(super) fn uninstall(&mut self, name: String, keep_data: bool, changes: &mut Changes) -> MetaReply {
        let Some(app) = self.apps.get(&name).cloned() else {
            return match self.kept.contains_key(&name) {
                // A repeated request.
                true if keep_data => Ok(()),
                true => Err(Refusal::conflict(format!(
                    "{name} is uninstalled already, and its data were kept: recoilctl data delete {name} deletes them"
                ))),
                false => Err(Refusal::not_found(format!("there is no app named {name}"))),
            };
        };
        self.apps.remove_mut(&name);
        changes.push(RowKey::App(name.clone()));
        if app.state == AppState::Serving {
            self.routing_changed();
        }
        let reporters: Vec<NodeId> = self.reports(app.id).map(|(node, _)| node).collect();
        for node in reporters {
            self.readiness.remove_mut(&(app.id, node));
            changes.push(RowKey::Readiness(app.id, node));
        }
        if keep_data {
            let Manifest { name: package, version, .. } = (*app.manifest).clone();
            let (id, keyspace, digest, settings) = (app.id, app.keyspace, app.digest, app.settings);
            changes.push(RowKey::Kept(name.clone()));
            self.kept.insert_mut(name, KeptData { id, keyspace, package, version, digest, settings });
        } else {
            self.removed_apps.insert_mut(app.id, ());
            changes.push(RowKey::RemovedApp(app.id));
        }
        if !self.apps.values().any(|other| other.digest == app.digest) && self.packages.remove_mut(&app.digest) {
            changes.push(RowKey::Package(app.digest));
        }
        Ok(())
    }

    fn installation(&self, id: AppId, install: u32) -> Result<(String, App), Refusal> {
        let found = self.apps.iter().find(|(_, app)| app.id == id && app.install == install);
        let found = found.map(|(name, app)| (name.clone(), app.clone()));
        found.ok_or_else(|| Refusal::not_found(format!("app {id} has been uninstalled")))
    }
}
