//! How much data each app has, for operators who are about to delete some.
//!
//! A node counts in the partitions that it leads, so that the sum over all nodes has each row once whatever the replication
//! factor. Keys and lengths are read and values are not. Bounded: one count runs at a time, on a thread of its own, and stops
//! after [`TIME_MAX`]; a partition that was not counted to its end is left out, and the answer says how many were counted.

use std::collections::HashMap;
use std::time::Duration;

use recoil_base::task::spawn_blocking;
use recoil_base::{AppId, KeyspaceId};
use recoil_cluster::meta::DEFAULT_KEYSPACE;
use recoil_consensus::Local;
use recoil_gateway::api::{AdminError, AppData, AppState};
use recoil_storage::{Data, DataError, key};

use crate::node::Parts;

/// How long one count may take. A node reads about a million rows per second.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Rows between two looks at the clock.
const ROWS_PER_LOOK: u64 = 4096;

/// What one app has in the partitions counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    rows: u64,
    bytes: u64,
    partitions: u32,
}

impl Parts {
    /// The data of the app named `only`, or of all apps, in the partitions that this node leads.
    ///
    /// # Errors
    /// There is no such app and no data of one, another count is under way, or the data cannot be read.
    pub(crate) async fn data_of(&self, only: Option<&str>) -> Result<Vec<AppData>, AdminError> {
        let state = self.states.borrow().clone();
        let partitions =
            |keyspace| state.keyspaces.get(&keyspace).map_or(0, |keyspace| keyspace.partitions.len() as u32);
        let named = |app: &str, state: AppState, package: &str, version: &str, partitions: u32| AppData {
            app: app.to_owned(),
            state,
            package: package.to_owned(),
            version: version.to_owned(),
            rows: 0,
            bytes: 0,
            partitions_counted: 0,
            partitions,
        };
        let installed = state.apps.iter().map(|(name, app)| {
            let now = self.summary(&state, name, app).state;
            let manifest = &app.manifest;
            (app.id, named(name, now, &manifest.name, &manifest.version, partitions(app.keyspace)))
        });
        let kept = state.kept.iter().map(|(name, kept)| {
            (kept.id, named(name, AppState::Kept, &kept.package, &kept.version, partitions(kept.keyspace)))
        });
        let mut apps: Vec<(AppId, AppData)> =
            installed.chain(kept).filter(|(_, data)| only.is_none_or(|only| only == data.app)).collect();
        if let (Some(only), true) = (only, apps.is_empty()) {
            let hint = "recoilctl data list shows the apps that have data";
            return Err(AdminError::not_found(format!("there is no app named {only}, and no data kept of one"), hint));
        }
        let installed = state.apps.values().map(|app| (app.id, app.keyspace));
        let places: HashMap<AppId, KeyspaceId> =
            installed.chain(state.kept.values().map(|kept| (kept.id, kept.keyspace))).collect();
        let place = |id: &AppId| places.get(id).copied().unwrap_or(DEFAULT_KEYSPACE);
        let usage = self.count(apps.iter().map(|(id, _)| (*id, place(id))).collect()).await?;
        for (id, data) in &mut apps {
            let Usage { rows, bytes, partitions } = usage.get(id).copied().unwrap_or_default();
            (data.rows, data.bytes, data.partitions_counted) = (rows, bytes, partitions);
        }
        apps.sort_by(|(_, one), (_, other)| one.app.cmp(&other.app));
        Ok(apps.into_iter().map(|(_, data)| data).collect())
    }

    async fn count(&self, apps: Vec<(AppId, KeyspaceId)>) -> Result<HashMap<AppId, Usage>, AdminError> {
        let busy =
            || AdminError::unavailable("this node is counting rows for another request", "try again in a moment");
        let turn = self.counting.clone().try_acquire_owned().map_err(|_| busy())?;
        let unread =
            |why: String| AdminError::internal(format!("the data cannot be counted: {why}"), "see the node's log");
        let mut led = Vec::new();
        for group in self.host.groups().into_iter().filter(|group| group.session().is_some()) {
            // Rows reach the data a moment after they are acknowledged.
            group.flush().await.map_err(|error| unread(error.to_string()))?;
            led.extend(self.context.locals.of_group(group.id()).into_iter().map(|(key, local)| (key.keyspace, local)));
        }
        let data = self.context.data.clone();
        let clock = self.clock.clone();
        let until = clock.now() + TIME_MAX;
        let counted = spawn_blocking(move || {
            let _turn = turn;
            count(&data, &apps, &led, &|| clock.now() >= until)
        });
        let counted = counted.await.map_err(|error| unread(error.to_string()))?;
        counted.map_err(|error| unread(error.to_string()))
    }
}

/// Counts partition by partition, all apps of its keyspace, until `is_late`.
fn count(
    data: &Data,
    apps: &[(AppId, KeyspaceId)],
    partitions: &[(KeyspaceId, Local)],
    is_late: &dyn Fn() -> bool,
) -> Result<HashMap<AppId, Usage>, DataError> {
    let mut usage: HashMap<AppId, Usage> = HashMap::new();
    let snapshot = data.snapshot();
    for (keyspace, partition) in partitions {
        for (app, _) in apps.iter().filter(|(_, of)| of == keyspace) {
            let (mut rows, mut bytes) = (0u64, 0u64);
            for length in snapshot.value_bytes(&key::full(partition.copy, *app, key::DATA, b"")) {
                rows += 1;
                bytes += length?;
                if rows.is_multiple_of(ROWS_PER_LOOK) && is_late() {
                    return Ok(usage);
                }
            }
            let usage = usage.entry(*app).or_default();
            usage.rows += rows;
            usage.bytes += bytes;
            usage.partitions += 1;
        }
        if is_late() {
            break;
        }
    }
    Ok(usage)
}

#[cfg(test)]
mod tests {
    use recoil_base::{CopyId, GroupId};

    use super::*;

    /// Fails if rows of another app, kind or copy are counted, or a partition counts that was not read to its end.
    #[test]
    fn the_rows_of_each_app_are_counted_in_whole_partitions() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let mut batch = data.batch();
        for (copy, app, kind, rest, value) in [
            (1, 1, key::DATA, "a", "12345"),
            (1, 1, key::DATA, "b", ""),
            (1, 1, key::TIMER_BY_ID, "t", "timer"),
            (1, 2, key::DATA, "a", "123"),
            (2, 1, key::DATA, "c", "1"),
            (3, 1, key::DATA, "elsewhere", "1"),
        ] {
            batch.put(key::full(CopyId(copy), AppId(app), kind, rest.as_bytes()), value.as_bytes().to_vec());
        }
        data.commit(batch).unwrap();
        let local = |copy| Local { group: GroupId(1), epoch: 1, copy: CopyId(copy) };
        let led = [(1, 1), (1, 2), (2, 3)].map(|(keyspace, copy)| (KeyspaceId(keyspace), local(copy)));
        let apps = [AppId(1), AppId(2)].map(|app| (app, KeyspaceId(1)));
        let all = count(&data, &apps, &led, &|| false).unwrap();
        assert_eq!(all[&AppId(1)], Usage { rows: 3, bytes: 6, partitions: 2 });
        assert_eq!(all[&AppId(2)], Usage { rows: 1, bytes: 3, partitions: 2 });
        let some = count(&data, &apps, &led, &|| true).unwrap();
        assert_eq!(some[&AppId(1)], Usage { rows: 2, bytes: 5, partitions: 1 });
    }
}
