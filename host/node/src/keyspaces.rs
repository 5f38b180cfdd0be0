//! Keyspaces, as operators see, make, change and delete them.
//!
//! The node that is asked chooses the replica sets of a new keyspace by the state that it knows, and the state machine holds them against the
//! rules once more when it takes them in. What a change of the number of replicas or of a rule asks for is planned and moved like everything
//! else ([`crate::balance`]).
//!
//! Commands of keyspaces came with a feature level of their own. A cluster is raised to it when its first keyspace is made or its default one
//! changed, so that one that has no use for it can go back to an earlier version.

use std::time::Duration;

use recoil_base::{KeyspaceId, NodeId};
use recoil_cluster::meta::{KEYSPACES_LEVEL, Keyspace, KeyspaceChange, Locality, NewKeyspace, PARTITIONS_MAX, Rules};
use recoil_cluster::placement::{self, Candidate};
use recoil_cluster::{MetaCommand, MetaState};
use recoil_gateway::api::{AdminError, CreateKeyspace, KeyspaceDetail, KeyspaceStatus, SetKeyspace};

use crate::node::Parts;

/// What to do about a keyspace that is not there.
const HINT: &str = "recoilctl keyspace list shows the keyspaces";
/// How long a new keyspace may take until all its partitions have leaders. Then it is shown as it is.
const LEADERS_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Tries to place a keyspace in a cluster that changes meanwhile.
const ATTEMPTS: usize = 3;

impl Parts {
    /// All keyspaces.
    pub(crate) fn keyspaces_now(&self) -> Vec<KeyspaceStatus> {
        self.status_now().keyspaces
    }

    /// One keyspace, the apps in it and the nodes that may hold it.
    pub(crate) fn keyspace_now(&self, name: &str) -> Result<KeyspaceDetail, AdminError> {
        let state = self.states.borrow().clone();
        let (id, _) = find(&state, name)?;
        let status = self.status_now();
        let found = status.keyspaces.into_iter().find(|keyspace| keyspace.name == name);
        let summary = found.ok_or_else(|| AdminError::unavailable("the keyspace was deleted just now", HINT))?;
        let apps = state.apps.iter().filter(|(_, app)| app.keyspace == id).map(|(name, _)| name.clone());
        let kept = state.kept.iter().filter(|(_, kept)| kept.keyspace == id).map(|(name, _)| name.clone());
        let nodes = state.members.keys().copied().filter(|node| state.may_hold(id, *node));
        Ok(KeyspaceDetail {
            summary,
            apps: apps.collect(),
            kept: kept.collect(),
            nodes: nodes.collect(),
            outside: outside(&state, id).into_iter().map(|(node, _)| node).collect(),
        })
    }

    /// Makes a keyspace and waits until its partitions have leaders.
    pub(crate) async fn create_keyspace_of(&self, request: CreateKeyspace) -> Result<KeyspaceDetail, AdminError> {
        let CreateKeyspace { name, partitions, replicas, require, spread_by, prefer_leader } = request;
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            let text = format!("a keyspace cannot have {partitions} partitions");
            return Err(AdminError::invalid(text, format!("choose 1 to {PARTITIONS_MAX}")));
        }
        let rules = Rules { require: place(&require)?, spread_by, prefer_leader: place(&prefer_leader)? };
        self.reach_level().await?;
        let mut attempts = 0;
        loop {
            let state = self.states.borrow().clone();
            let map = choose(&state, &rules, partitions, replicas, |node| self.peers.is_live(node));
            let (name, rules) = (name.clone(), rules.clone());
            let placement::Map { sets, partitions } = map;
            let new = NewKeyspace { name, replication: replicas, rules, sets, partitions };
            attempts += 1;
            match self.change(&MetaCommand::CreateKeyspace(Box::new(new))).await {
                Ok(()) => break,
                // A node may have left since this one looked.
                Err(error) if attempts == ATTEMPTS => return Err(error.with_hint("")),
                Err(_) if !self.states.borrow().members.ptr_eq(&state.members) => {}
                Err(error) => return Err(error.with_hint("")),
            }
        }
        let led = async {
            while self.keyspace_now(&name).is_ok_and(|now| now.summary.leaders_present < now.summary.partitions) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        // What is missing by then is in what is shown.
        let _ = tokio::time::timeout(LEADERS_WITHIN, led).await;
        self.keyspace_now(&name)
    }

    /// Changes the number of replicas and the rules of a keyspace.
    pub(crate) async fn set_keyspace_of(&self, name: &str, request: SetKeyspace) -> Result<KeyspaceDetail, AdminError> {
        find(&self.states.borrow(), name)?;
        let SetKeyspace { replicas, require, spread_by, prefer_leader } = request;
        let change = KeyspaceChange {
            replication: replicas,
            require: require.as_deref().map(place).transpose()?,
            spread_by,
            prefer_leader: prefer_leader.as_deref().map(place).transpose()?,
        };
        self.reach_level().await?;
        let changed = self.change(&MetaCommand::SetKeyspace { name: name.to_owned(), change }).await;
        changed.map_err(|error| error.with_hint(""))?;
        self.keyspace_now(name)
    }

    /// Deletes a keyspace that nobody uses.
    pub(crate) async fn delete_keyspace_of(&self, name: &str) -> Result<(), AdminError> {
        self.catch_up().await?;
        find(&self.states.borrow(), name)?;
        let deleted = self.change(&MetaCommand::DeleteKeyspace { name: name.to_owned() }).await;
        deleted.map_err(|error| error.with_hint(""))
    }

    /// Raises the cluster to the feature level of keyspaces, unless it has reached it.
    async fn reach_level(&self) -> Result<(), AdminError> {
        self.catch_up().await?;
        loop {
            let level = self.states.borrow().header.level;
            if level >= KEYSPACES_LEVEL {
                return Ok(());
            }
            let raised = self.change(&MetaCommand::RaiseLevel { level: level + 1 }).await;
            raised.map_err(|error| error.with_hint("keyspaces need a version on every node that knows them"))?;
            tracing::info!(level = level + 1, "the cluster's feature level was raised, since keyspaces need it");
            self.catch_up().await?;
        }
    }
}

/// A keyspace by its name.
pub(crate) fn find<'a>(state: &'a MetaState, name: &str) -> Result<(KeyspaceId, &'a Keyspace), AdminError> {
    state.keyspace_named(name).map_err(|refusal| AdminError::not_found(refusal.message, HINT))
}

/// Tiers of a rule, as operators write them.
fn place(text: &str) -> Result<Locality, AdminError> {
    text.parse().map_err(|why: String| AdminError::invalid(why, "a rule names tiers of the nodes' localities"))
}

/// Replica sets for a new keyspace, on the nodes that its rules allow, those that answer before all others. If these are too few, the
/// sets are too, and the state machine says so.
fn choose(
    state: &MetaState,
    rules: &Rules,
    partitions: u32,
    replicas: u32,
    is_live: impl Fn(NodeId) -> bool,
) -> placement::Map {
    let held = |node: NodeId| {
        let groups = state.groups.iter().filter(|(_, record)| record.members.contains(&node));
        groups.map(|(id, _)| state.partition_count(*id)).sum()
    };
    let allowed = state.active_members().filter(|(_, member)| rules.allow(&member.locality));
    let all: Vec<Candidate> = allowed
        .map(|(node, member)| Candidate {
            zone: rules.zone_of(&member.locality),
            is_preferred: member.locality.has(&rules.prefer_leader),
            held: held(*node),
            ..Candidate::of(*node, member.capacity)
        })
        .collect();
    let live: Vec<Candidate> = all.iter().filter(|candidate| is_live(candidate.node)).cloned().collect();
    let candidates = if live.len() >= replicas as usize { live } else { all };
    match candidates.is_empty() {
        true => placement::Map { sets: vec![vec![]], partitions: vec![0; partitions as usize] },
        false => placement::place(&candidates, partitions, replicas),
    }
}

/// The members that hold replicas of a keyspace although its rule forbids them, and of how many partitions.
pub(crate) fn outside(state: &MetaState, keyspace: KeyspaceId) -> Vec<(NodeId, usize)> {
    let mut all = std::collections::BTreeMap::new();
    for (id, record) in state.groups.iter().filter(|(_, record)| record.keyspace == keyspace) {
        for node in record.members.iter().filter(|node| !state.may_hold(keyspace, **node)) {
            *all.entry(*node).or_default() += state.partition_count(*id);
        }
    }
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// What an operator should know of a keyspace whose rules cannot be met now, a sentence each.
pub(crate) fn unmet(state: &MetaState, id: KeyspaceId, keyspace: &Keyspace) -> Vec<String> {
    let (name, require, wanted) = (&keyspace.name, &keyspace.rules.require, state.replicas_wanted(keyspace));
    let mut texts = Vec::new();
    // Of the default keyspace in a small cluster that is no news.
    if wanted < keyspace.replication as usize && (!require.is_empty() || id != recoil_cluster::meta::DEFAULT_KEYSPACE) {
        let which = if require.is_empty() { String::new() } else { format!(" with {require}") };
        texts.push(format!(
            "keyspace {name} should have {} replicas of each partition, and only {wanted} nodes{which} are there: start nodes{which}, or \
             set fewer replicas. Nothing moves to other nodes meanwhile",
            keyspace.replication
        ));
    }
    for (node, count) in outside(state, id) {
        let may_move = wanted > 0;
        let what = match may_move {
            true => "they move to nodes that it allows",
            false => "there is no node that it allows, so they stay: start one, or change the rule",
        };
        texts.push(format!(
            "node {node} holds {count} partitions of keyspace {name}, whose rule requires {require}: {what}"
        ));
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::departures::tests::state;

    /// Fails if a new keyspace is placed on nodes that are down while others answer, or outside its rule, or if nobody is said to be missing.
    #[test]
    fn a_keyspace_is_placed_on_live_nodes_that_its_rule_allows() {
        let state = state(5, &[1, 2, 3], 3);
        let rules = Rules::default();
        let on = |map: &placement::Map| {
            map.sets.iter().flatten().copied().collect::<std::collections::BTreeSet<_>>().into_iter().map(|n| n.0)
        };
        let map = choose(&state, &rules, 10, 3, |node| node != NodeId(4));
        assert_eq!(on(&map).collect::<Vec<_>>(), [1, 2, 3, 5]);
        assert_eq!(map.partitions.len(), 10);
        let map = choose(&state, &rules, 10, 5, |node| node != NodeId(4));
        assert_eq!(on(&map).count(), 5, "no other node is there");
        let rules = Rules { require: "region=eu".parse().unwrap(), ..Rules::default() };
        assert_eq!(on(&choose(&state, &rules, 10, 3, |_| true)).count(), 0);
        assert_eq!(outside(&state, recoil_cluster::meta::DEFAULT_KEYSPACE), []);
    }
}
