//! Two logs, the cluster's record, and leaders of the target that come and go, with every message lost, late or repeated as the dice
//! say. The rows are those of `recoil_consensus`.

use recoil_base::GroupId;
use recoil_consensus::{Move, OwnershipChange};

use super::*;

mod repair;

const S: GroupId = GroupId(1);
const T: GroupId = GroupId(2);

/// A small generator (xorshift), so that a failure names its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % count
    }
}

/// What a leader of the target remembers; a new one remembers nothing.
#[derive(Clone, Copy, Default)]
struct Memory {
    source: Option<Decision>,
    is_complete: bool,
    is_retired: bool,
}

/// An entry or a request on its way.
#[derive(Clone, Copy, Debug)]
enum Flying {
    ToSource(OwnershipChange),
    ToTarget(OwnershipChange),
    Meta(Step, u64),
}

struct World {
    source: Ownership,
    target: Ownership,
    indexes: [u64; 2],
    /// The move recorded by the cluster, and those that have ended.
    record: Option<(u64, MoveState)>,
    ended: u64,
    complete: bool,
    flying: Vec<Flying>,
}

impl World {
    fn new() -> Self {
        let mut source = Ownership::default();
        assert!(source.apply(1, 1, OwnershipChange::Birth { epoch: 1 }));
        let (target, record) = (Ownership::default(), Some((1, MoveState::Moving)));
        World { source, target, indexes: [1, 0], record, ended: 0, complete: false, flying: vec![] }
    }

    /// Two logs never own the partition, and a released one is expected or owned by the target.
    fn check(&self) {
        let owns = |row: &Ownership| row.phase == Phase::Owned;
        assert!(!(owns(&self.source) && owns(&self.target)), "both own it");
        if let Phase::Released(moving) = self.source.phase {
            let expected = matches!(self.target.phase, Phase::Expected(other) if other.id == moving.id);
            assert!(expected || self.target.is_owned_in(moving.epoch), "nobody has it: {:?}", self.target);
        }
    }

    fn apply(&mut self, flying: Flying) {
        match flying {
            Flying::ToSource(change) => {
                self.indexes[0] += 1;
                self.source.apply(self.indexes[0], 5, change);
            }
            Flying::ToTarget(change) => {
                self.indexes[1] += 1;
                self.target.apply(self.indexes[1], 5, change);
            }
            Flying::Meta(step, id) => match (step, self.record) {
                (Step::Flip, Some((now, _))) if now == id => self.record = Some((id, MoveState::Flipped)),
                (Step::End, Some((now, state))) if now == id && state != MoveState::Moving => {
                    self.record = None;
                    self.ended += 1;
                }
                _ => {}
            },
        }
        self.check();
    }

    fn seen(&self, (id, state): (u64, MoveState), memory: Memory, is_prepared: bool) -> Seen {
        let Memory { source, is_complete, is_retired } = memory;
        Seen { id, epoch: 2, state, target: self.target, source, is_prepared, is_complete, is_retired }
    }

    /// Takes the step that follows. What is lost on the way is lost before or after it has had its effect.
    fn step(&mut self, record: (u64, MoveState), memory: &mut Memory, dice: &mut Dice) {
        let id = record.0;
        let moving = |other| Move { id, other, epoch: 2 };
        let step = next(&self.seen(record, *memory, dice.below(4) > 0));
        let mut send = |flying| self.flying.push(flying);
        match step {
            Step::Expect => send(Flying::ToTarget(OwnershipChange::Expect(moving(S)))),
            Step::Adopt(released) => send(Flying::ToTarget(OwnershipChange::Adopt { id, released })),
            Step::UnExpect => send(Flying::ToTarget(OwnershipChange::UnExpect { id })),
            Step::AskRelease => {
                if self.source.decision(id) == Decision::Undecided {
                    send(Flying::ToSource(OwnershipChange::Release(moving(T))));
                }
                self.read(id, memory);
            }
            Step::Look => self.read(id, memory),
            Step::AskCancel => {
                if self.source.decision(id) == Decision::Undecided {
                    send(Flying::ToSource(OwnershipChange::Cancel { id }));
                }
                self.read(id, memory);
            }
            step @ (Step::Flip | Step::End) => send(Flying::Meta(step, id)),
            Step::AskComplete => memory.is_complete = self.complete,
            Step::AskRetire => {
                send(Flying::ToSource(OwnershipChange::Retire { id }));
                memory.is_retired = !matches!(self.source.phase, Phase::Released(moving) if moving.id == id);
            }
            Step::Wait => {}
        }
    }

    fn read(&self, id: u64, memory: &mut Memory) {
        memory.source = Some(self.source.decision(id)).filter(|decision| *decision != Decision::Undecided);
    }
}

/// Fails if a step is taken too early, one that was lost is never taken again, or a move that is cancelled at any moment ends with no
/// owner or with two.
#[test]
fn a_move_ends_with_one_owner_whatever_is_lost_repeated_or_cancelled() {
    let (mut moved, mut cancelled) = (0, 0);
    for seed in 1..=4000 {
        let (mut dice, mut world, mut memory) = (Dice(seed * 0x9e37_79b9), World::new(), Memory::default());
        let mut left_behind: Option<((u64, MoveState), Memory)> = None;
        for _ in 0..200 {
            let Some(record) = world.record else { break };
            match dice.below(12) {
                0 => memory = Memory::default(),
                // A deposed leader goes on for a while by what it knew.
                1 => left_behind = Some((record, memory)),
                2 => {
                    if let Some((record, memory)) = &mut left_behind {
                        world.step(*record, memory, &mut dice);
                    }
                }
                3 if record.1 == MoveState::Moving && dice.below(8) == 0 => {
                    world.record = Some((record.0, MoveState::Cancelling));
                }
                4 => world.complete |= world.target.is_owned_in(2),
                5 | 6 => world.step(record, &mut memory, &mut dice),
                7 if !world.flying.is_empty() => {
                    let lost = dice.below(world.flying.len() as u64) as usize;
                    world.flying.remove(lost);
                }
                _ if !world.flying.is_empty() => {
                    let place = dice.below(world.flying.len() as u64) as usize;
                    let flying = world.flying[place];
                    if dice.below(4) > 0 {
                        world.flying.remove(place);
                    }
                    world.apply(flying);
                }
                _ => {}
            }
        }
        // Everything is well from now on.
        for _ in 0..50 {
            let Some(record) = world.record else { break };
            world.complete |= world.target.is_owned_in(2);
            world.step(record, &mut memory, &mut dice);
            for flying in std::mem::take(&mut world.flying) {
                world.apply(flying);
            }
            world.step(record, &mut memory, &mut dice);
        }
        assert_eq!(world.record, None, "seed {seed}: the move does not end: {:?} {:?}", world.source, world.target);
        // What is still on its way changes nothing.
        let ends = (world.source.phase, world.target.phase);
        for flying in std::mem::take(&mut world.flying) {
            world.apply(flying);
        }
        assert_eq!((world.source.phase, world.target.phase), ends, "seed {seed}");
        match ends {
            (Phase::Absent, Phase::Owned) => moved += 1,
            (Phase::Owned, Phase::Absent) => cancelled += 1,
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(moved > 1000 && cancelled > 100, "{moved} moved, {cancelled} cancelled");
}

/// Fails if the source is asked to retire while a replica of the target may lack rows, or the map flips before the target owns the
/// partition.
#[test]
fn the_old_copies_outlive_every_replica_that_lacks_rows() {
    let mut target = Ownership::default();
    target.apply(1, 1, OwnershipChange::Expect(Move { id: 7, other: S, epoch: 2 }));
    let released = ReleasePoint { index: 9, clock_us: 1 };
    let seen = |target, state| Seen {
        id: 7,
        epoch: 2,
        state,
        target,
        source: Some(Decision::Released(released)),
        is_prepared: true,
        is_complete: false,
        is_retired: false,
    };
    assert_eq!(next(&seen(target, MoveState::Moving)), Step::Adopt(released));
    assert_eq!(next(&seen(target, MoveState::Cancelling)), Step::Adopt(released), "after the release only forward");
    target.apply(2, 1, OwnershipChange::Adopt { id: 7, released });
    assert_eq!(next(&seen(target, MoveState::Moving)), Step::Flip);
    let flipped = seen(target, MoveState::Flipped);
    assert_eq!(next(&flipped), Step::AskComplete);
    assert_eq!(next(&Seen { is_complete: true, ..flipped }), Step::AskRetire);
    assert_eq!(next(&Seen { is_complete: true, is_retired: true, ..flipped }), Step::End);
    let undecided =
        Seen { source: None, is_prepared: false, target: Ownership::default(), ..seen(target, MoveState::Moving) };
    assert_eq!(next(&undecided), Step::Expect);
    let mut expecting = Ownership::default();
    expecting.apply(1, 1, OwnershipChange::Expect(Move { id: 7, other: S, epoch: 2 }));
    assert_eq!(
        next(&Seen { target: expecting, ..undecided }),
        Step::Look,
        "an earlier leader may have had it released"
    );
    assert_eq!(next(&Seen { target: expecting, is_prepared: true, ..undecided }), Step::AskRelease);
}

/// Fails if old copies go while a replica that may be well lacks rows, or while fewer than a majority have them; or if a lost replica keeps them
/// for ever.
#[test]
fn a_lost_replica_does_not_keep_the_old_copies() {
    let may = |target: &[u32], complete: &[u32], gone: &[u32]| {
        let target: Vec<NodeId> = target.iter().copied().map(NodeId).collect();
        may_retire(&target, |node| complete.contains(&node.0), |node| gone.contains(&node.0))
    };
    assert!(may(&[1, 2, 3], &[1, 2, 3], &[]));
    assert!(!may(&[1, 2, 3], &[1, 2], &[]), "the third may be slow");
    assert!(may(&[1, 2, 3], &[1, 2], &[3]) && may(&[1, 2, 3], &[1, 2, 3], &[3]));
    assert!(!may(&[1, 2, 3], &[1], &[2, 3]) && !may(&[1, 2], &[1], &[2]), "no majority has them");
    assert!(!may(&[1, 2, 3, 4, 5], &[1, 2, 3], &[4]) && may(&[1, 2, 3, 4, 5], &[1, 2, 3], &[4, 5]));
    assert!(may(&[1], &[1], &[]) && !may(&[1], &[], &[1]));
}
