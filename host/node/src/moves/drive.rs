//! The target's leader at work: looks at every move to its group, takes the step that follows for each, those of one kind together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use recoil_base::{GroupId, NodeId};
use recoil_cluster::meta::{App, AppState, MemberState, MoveRecord, MoveState};
use recoil_cluster::moves::{Seen, Step, may_retire, next};
use recoil_cluster::{MetaCommand, MetaState, Service};
use recoil_consensus::{Decision, Group, OwnershipChange, PartitionRef, Phase, Session};
use tokio::time::Instant;

use super::{ASK_TIMEOUT, Answer, BATCH_MAX, Decided, Moving, Question, answer};
use crate::node::Parts;

/// Pause when nothing could be done.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two tries to hand the leadership of a group over for its moves.
const HAND_OVER_PAUSE: Duration = Duration::from_secs(5);
/// Between two questions to replicas that lacked rows: each that has them makes them durable first.
const COMPLETE_PAUSE: Duration = Duration::from_millis(200);

/// What the moves to groups that this node leads wait for, by their ids; for operators.
#[derive(Default)]
pub(crate) struct Progress {
    waits: Mutex<BTreeMap<u64, String>>,
    /// When the leadership of a group was last handed over for a move.
    handed_over: Mutex<BTreeMap<GroupId, Instant>>,
}

impl Progress {
    fn set(&self, id: u64, why: impl Into<String>) {
        self.waits.lock().insert(id, why.into());
    }

    fn retain(&self, is_there: impl Fn(u64) -> bool) {
        self.waits.lock().retain(|id, _| is_there(*id));
    }

    /// True if a leadership may be handed over again: each try costs the group a moment.
    fn may_hand_over(&self, group: GroupId, now: Instant) -> bool {
        let mut handed_over = self.handed_over.lock();
        let is_due = handed_over.get(&group).is_none_or(|last| now.saturating_duration_since(*last) >= HAND_OVER_PAUSE);
        if is_due {
            handed_over.insert(group, now);
        }
        is_due
    }
}

/// What a move waits for, if this node drives it.
pub(crate) fn waits_for(parts: &Parts, id: u64) -> Option<String> {
    parts.moves.waits.lock().get(&id).cloned()
}

/// What has been answered about a move, while this node drives it.
#[derive(Default)]
struct Memory {
    source: Option<Decision>,
    complete: BTreeSet<NodeId>,
    is_retired: bool,
}

struct Driver {
    parts: Arc<Parts>,
    group: Arc<Group>,
    session: Arc<Session>,
    memory: BTreeMap<u64, Memory>,
}

/// Drives the moves to a group for as long as this node leads it under this session.
pub(crate) async fn drive(parts: Arc<Parts>, group: Arc<Group>, session: Arc<Session>) {
    let (mut states, mut leadership) = (parts.states.clone(), group.leadership());
    let mut driver = Driver { parts, group, session, memory: BTreeMap::new() };
    while !driver.session.is_sealed() {
        let state = states.borrow_and_update().clone();
        let of_group =
            |(id, record): (&u64, &MoveRecord)| (record.target == driver.group.id()).then_some((*id, *record));
        let moves: Vec<(u64, MoveRecord)> = state.moves.iter().filter_map(of_group).collect();
        driver.memory.retain(|id, _| state.moves.contains_key(id));
        driver.parts.moves.retain(|id| state.moves.contains_key(&id));
        if moves.is_empty() {
            let changed = tokio::select! {
                changed = states.changed() => changed,
                changed = leadership.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            continue;
        }
        let mut advanced = false;
        for batch in moves.chunks(BATCH_MAX) {
            advanced |= driver.look(&state, batch).await;
        }
        if !advanced {
            let _ = tokio::time::timeout(PAUSE, states.changed()).await;
        }
    }
}

impl Driver {
    /// Takes one step of each move; true if any of them may go on at once.
    async fn look(&mut self, state: &MetaState, moves: &[(u64, MoveRecord)]) -> bool {
        let mut steps: BTreeMap<u8, Vec<Asked>> = BTreeMap::new();
        for (id, record) in moves {
            let step = next(&self.seen(state, *id, record));
            let kind = match step {
                // What ends a pause comes first.
                Step::Adopt(_) => 0,
                Step::Expect | Step::UnExpect => 1,
                Step::AskRelease | Step::Look => 2,
                Step::AskCancel => 3,
                Step::Flip => 4,
                Step::AskComplete => 5,
                Step::AskRetire => 6,
                Step::End => 7,
                Step::Wait => continue,
            };
            steps.entry(kind).or_default().push((Moving::of(*id, record), step, *record));
        }
        let mut advanced = false;
        for (kind, steps) in steps {
            let all: Vec<Moving> = steps.iter().map(|(moving, ..)| *moving).collect();
            let ids = || all.iter().map(|moving| moving.id).collect::<Vec<_>>();
            advanced |= match kind {
                0 | 1 => self.change(&steps).await,
                2 | 3 => {
                    let mut advanced = false;
                    for (source, asked) in by_source(&steps) {
                        advanced |= self.ask_decisions(state, source, &asked).await;
                    }
                    advanced
                }
                4 => self.record(&MetaCommand::Flip { moves: ids() }).await,
                5 => self.ask_complete(state, &all).await,
                6 => {
                    let mut advanced = false;
                    for (source, asked) in by_source(&steps) {
                        let moves = asked.iter().map(|(moving, ..)| *moving).collect();
                        advanced |= self.ask_retire(state, source, moves).await;
                    }
                    advanced
                }
                _ => self.record(&MetaCommand::EndMoves { moves: ids() }).await,
            };
        }
        advanced
    }

    fn seen(&mut self, state: &MetaState, id: u64, record: &MoveRecord) -> Seen {
        let partition = PartitionRef { keyspace: record.keyspace, partition: record.partition };
        let target = self.parts.context.locals.state(self.group.id(), partition);
        let target = target.map(|target| target.ownership).unwrap_or_default();
        let members = state.groups.get(&record.target).map(|group| group.members.clone());
        let parts = &self.parts;
        let memory = self.memory.entry(id).or_default();
        let is_complete = members.is_some_and(|members| {
            may_retire(&members, |node| memory.complete.contains(&node), |node| is_gone(parts, state, node))
        });
        let (source, is_retired) = (memory.source, memory.is_retired);
        let expects = matches!(target.phase, Phase::Expected(moving) if moving.id == id);
        let is_prepared = record.state == MoveState::Moving && expects && source.is_none() && {
            let lacking = self.unprepared(state, record, partition);
            lacking.map(|why| self.parts.moves.set(id, why)).is_none()
        };
        Seen { id, epoch: record.epoch, state: record.state, target, source, is_prepared, is_complete, is_retired }
    }

    /// Those of the moves whose source has released them.
    fn adoptable(&mut self, state: &MetaState, steps: &[Asked]) -> Vec<Asked> {
        let mut adoptable = Vec::new();
        for (moving, _, record) in steps {
            let step = next(&self.seen(state, moving.id, record));
            if matches!(step, Step::Adopt(_)) {
                adoptable.push((*moving, step, *record));
            }
        }
        adoptable
    }

    /// What speaks against asking for a release now (rule M10).
    fn unprepared(&self, state: &MetaState, record: &MoveRecord, partition: PartitionRef) -> Option<String> {
        // Apps of other keyspaces may not be allowed here at all.
        let is_served = |app: &App| app.state == AppState::Serving && app.keyspace == record.keyspace;
        let serving = state.apps.iter().filter(|(_, app)| is_served(app));
        for (name, app) in serving {
            if self.parts.host.app(app.id).is_none() {
                return Some(format!("app {name} is not ready on node {}", self.parts.node));
            }
        }
        let members = |group: GroupId| state.groups.get(&group).map(|group| group.members.to_vec()).unwrap_or_default();
        let (source, target) = (members(record.source), members(record.target));
        if source.contains(&self.parts.node) {
            let here = self.parts.context.locals.state(record.source, partition);
            let has_copy = here.is_some_and(|here| here.ownership.is_owned_in(record.epoch - 1) && !here.lacks_rows());
            return (!has_copy)
                .then(|| format!("node {} has not caught up with group {}", self.parts.node, record.source));
        }
        // Whoever has the source's replica takes the partition over without copying it.
        let shared = target.into_iter().filter(|node| source.contains(node));
        let heir = shared.into_iter().find(|node| self.parts.peers.is_live(*node));
        heir.map(|heir| {
            let may = || self.parts.moves.may_hand_over(self.group.id(), self.parts.clock.now());
            if self.group.lag_of(heir) == Some(0) && may() {
                self.session.hand_over(heir);
            }
            format!("node {heir}, which has the rows, is to lead the group first")
        })
    }

    /// Has this group's log take changes in.
    async fn change(&self, steps: &[Asked]) -> bool {
        let change = |(moving, step, record): &Asked| {
            let change = match *step {
                Step::Expect => OwnershipChange::Expect(moving.with(record.source)),
                Step::UnExpect => OwnershipChange::UnExpect { id: moving.id },
                Step::Adopt(released) => OwnershipChange::Adopt { id: moving.id, released },
                _ => return None,
            };
            Some((moving.partition(), change))
        };
        self.session.change_ownership_to_the_end(steps.iter().filter_map(change).collect()).await
    }

    /// Asks the source about moves, and has this group adopt what is released: calls are parked or sent again until then, so nothing
    /// else comes between.
    async fn ask_decisions(&mut self, state: &MetaState, source: GroupId, asked: &[Asked]) -> bool {
        let mut advanced = false;
        for wanted in [Step::AskRelease, Step::Look, Step::AskCancel] {
            let of_kind = asked.iter().filter(|(_, step, _)| *step == wanted).map(|(moving, ..)| *moving);
            let moves: Vec<Moving> = of_kind.collect();
            if moves.is_empty() {
                continue;
            }
            let target = self.group.id();
            let question = match wanted {
                Step::AskRelease => Question::Release { source, target, moves: moves.clone() },
                Step::Look => Question::Look { source, moves: moves.clone() },
                _ => Question::Cancel { source, moves: moves.clone() },
            };
            advanced |= self.ask_decision(state, source, question, &moves).await;
            let adoptable = self.adoptable(state, asked);
            advanced |= !adoptable.is_empty() && self.change(&adoptable).await;
        }
        advanced
    }

    /// Asks the source what it has decided, and remembers that.
    async fn ask_decision(&mut self, state: &MetaState, source: GroupId, question: Question, moves: &[Moving]) -> bool {
        let is_look = matches!(question, Question::Look { .. });
        let answer = self.ask_source(state, source, question).await;
        let mut advanced = false;
        for (place, moving) in moves.iter().enumerate() {
            let decided = answer.decided.get(place).copied().unwrap_or(Decided::Undecided);
            if decided == Decided::Undecided && is_look {
                continue; // what it waits for is known
            } else if decided == Decided::Undecided {
                let why = answer.why.clone().unwrap_or_else(|| "the source has not decided".into());
                self.parts.moves.set(moving.id, format!("group {source}: {why}"));
            } else {
                self.memory.entry(moving.id).or_default().source = Some(decided.into());
                advanced = true;
            }
        }
        advanced
    }

    async fn ask_retire(&mut self, state: &MetaState, source: GroupId, moves: Vec<Moving>) -> bool {
        let answer = self.ask_source(state, source, Question::Retire { source, moves: moves.clone() }).await;
        let mut advanced = false;
        for (place, moving) in moves.iter().enumerate() {
            let is_retired = answer.done.get(place).copied().unwrap_or(false);
            self.memory.entry(moving.id).or_default().is_retired = is_retired;
            advanced |= is_retired;
            if let Some(why) = answer.why.as_ref().filter(|_| !is_retired) {
                self.parts.moves.set(moving.id, format!("group {source} has yet to drop its copies: {why}"));
            }
        }
        advanced
    }

    /// Asks the source's replicas, its leader first, until one has done what was asked.
    async fn ask_source(&self, state: &MetaState, source: GroupId, question: Question) -> Answer {
        let members = state.groups.get(&source).map(|group| group.members.to_vec()).unwrap_or_default();
        let mut nodes: Vec<NodeId> = self.parts.router.leader(source).into_iter().collect();
        nodes.extend(members.into_iter().filter(|node| self.parts.peers.is_live(*node)));
        let (mut asked, mut last) = (BTreeSet::new(), Answer::default());
        while let Some(node) = nodes.iter().copied().find(|node| !asked.contains(node)) {
            asked.insert(node);
            match self.ask(node, question.clone()).await {
                Ok(answer) if answer.why.is_none() => return answer,
                Ok(answer) => {
                    if let Some(leader) = answer.leader.filter(|leader| *leader != node) {
                        nodes.insert(0, leader);
                    }
                    // One that has decided some of them leads.
                    if answer.decided.iter().any(|decided| *decided != Decided::Undecided) {
                        return answer;
                    }
                    last = answer;
                }
                Err(why) => last.why = Some(format!("node {node}: {why}")),
            }
        }
        if last.why.is_none() {
            last.why = Some("none of its replicas is live".into());
        }
        last
    }

    async fn ask_complete(&mut self, state: &MetaState, moves: &[Moving]) -> bool {
        let target = self.group.id();
        let members = state.groups.get(&target).map(|group| group.members.to_vec()).unwrap_or_default();
        let mut advanced = false;
        for node in members.into_iter().filter(|node| !is_gone(&self.parts, state, *node)) {
            let open: Vec<Moving> = moves
                .iter()
                .filter(|moving| self.memory.get(&moving.id).is_none_or(|memory| !memory.complete.contains(&node)))
                .copied()
                .collect();
            if open.is_empty() {
                continue;
            }
            let answer = self.ask(node, Question::Complete { target, moves: open.clone() }).await;
            let why = match &answer {
                Ok(_) => format!("node {node} does not have all rows yet"),
                Err(why) => format!("node {node}: {why}"),
            };
            let done = answer.map(|answer| answer.done).unwrap_or_default();
            for (place, moving) in open.iter().enumerate() {
                if done.get(place).copied().unwrap_or(false) {
                    self.memory.entry(moving.id).or_default().complete.insert(node);
                    advanced = true;
                } else {
                    self.parts.moves.set(moving.id, why.clone());
                }
            }
        }
        if !advanced {
            tokio::time::sleep(COMPLETE_PAUSE).await;
        }
        advanced
    }

    async fn ask(&self, node: NodeId, question: Question) -> Result<Answer, String> {
        if node == self.parts.node {
            return answer(&self.parts, question).await;
        }
        let body = serde_json::to_vec(&question).map_err(|error| error.to_string())?;
        let answer = self.parts.peers.request(node, Service::Move, body.into(), ASK_TIMEOUT).await;
        serde_json::from_slice(&answer.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
    }

    async fn record(&self, command: &MetaCommand) -> bool {
        let recorded = self.parts.change(command).await;
        if let Err(error) = &recorded {
            tracing::debug!(%error, "a move could not be recorded; it is tried again");
        }
        recorded.is_ok()
    }
}

/// True of a node that nothing waits for: it counts as lost, is no member any more, or is to be removed and does not answer.
fn is_gone(parts: &Parts, state: &MetaState, node: NodeId) -> bool {
    let Some(member) = state.members.get(&node) else { return true };
    let is_given_up = member.state == MemberState::Decommissioning && !parts.peers.is_live(node);
    state.is_lost(node) || is_given_up
}

/// A move, the step that follows, and what is recorded of it.
type Asked = (Moving, Step, MoveRecord);

fn by_source(steps: &[Asked]) -> BTreeMap<GroupId, Vec<Asked>> {
    let mut by_source: BTreeMap<GroupId, Vec<Asked>> = BTreeMap::new();
    for asked in steps {
        by_source.entry(asked.2.source).or_default().push(*asked);
    }
    by_source
}
