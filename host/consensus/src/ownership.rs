//! Which partitions a group owns: a state machine over the group's own log.
//!
//! A group keeps one [`Ownership`] row for each partition that its log has ever named. The row is a pure function of that
//! log, so it is equal on all replicas at equal indexes, and a snapshot carries it. What the local copy of a partition is
//! good for is a different, replica-local state ([`crate::local`]); the partition map in the meta group only routes.
//!
//! Entries of the kind "ownership" ([`crate::command::Body::Ownership`]) change rows, one [`OwnershipChange`] for each
//! partition. A partition enters its first group by `Birth`. A move from a source group S to a target group T is decided by
//! S's log (rule M2 of the handoff protocol): T commits `Expect`, S commits `Release` or `Cancel`, T commits `Adopt` or
//! `UnExpect`, and S commits `Retire` once a majority of T's replicas, and every one that is not
//! lost, has the rows.
//!
//! Invariants:
//! - `Birth` takes effect only on a partition that the log has never named. A row is never removed, so a replica with an old
//!   partition map cannot bring back a partition that has moved away.
//! - The first of `Release` and `Cancel` wins, and a repetition changes nothing: `highest` is the highest move in which the
//!   log has taken part, and a change that carries a lower or equal id only reads the recorded result
//!   ([`Ownership::decision`]). `highest` survives `Retire`, `UnExpect` and snapshots.
//! - `Adopt` requires that exactly this move is expected. Epochs only grow.
//!
//! Deliberately absent: copies and their rows, who asks for a change and when, and the feature level of the cluster below
//! which only `Birth` may be proposed.

use recoil_base::{DecodeError, GroupId, Reader, Writer};

/// The version of an encoded row.
const ROW_FORMAT: u8 = 1;

/// The move of a partition from one group to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    /// Given by the meta group, growing, never reused; at least 1.
    pub id: u64,
    /// The other group: the target in the source's log, the source in the target's log.
    pub other: GroupId,
    /// The epoch of the partition in the target.
    pub epoch: u64,
}

/// Where the source's log released a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleasePoint {
    /// The index of the `Release` entry in the source's log: the target's data begin with everything up to it.
    pub index: u64,
    /// The source's hybrid-logical clock then, microseconds: the target's clock must not be behind it.
    pub clock_us: u64,
}

/// What a group is to a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// The group does not own it, or not any more.
    #[default]
    Absent,
    /// The group owns it: its leader evaluates calls, in the row's epoch.
    Owned,
    /// The group is the target of this move and is ready to take the partition.
    Expected(Move),
    /// The group was the source of this move. Its copies are frozen at the row's release point until they are retired.
    Released(Move),
}

/// One group's row for one partition. See the module's essay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// What the group is to the partition.
    pub phase: Phase,
    /// The epoch in which the group owns the partition, or owned it last; 0 if it never did.
    pub epoch: u64,
    /// The highest move in which this log has taken part, as source or as target; 0 if in none.
    pub highest: u64,
    /// Where this log released the partition, if the highest move did that.
    pub released: Option<ReleasePoint>,
}

/// A change of one row, as an entry carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnershipChange {
    /// The partition begins in this group, empty.
    Birth {
        /// Its first epoch.
        epoch: u64,
    },
    /// Target: be ready to take the partition.
    Expect(Move),
    /// Target: the move was cancelled.
    UnExpect {
        /// The move.
        id: u64,
    },
    /// Source: give the partition up.
    Release(Move),
    /// Source: the move is not to happen.
    Cancel {
        /// The move.
        id: u64,
    },
    /// Target: own the partition as it was at the source's release point.
    Adopt {
        /// The move.
        id: u64,
        /// Where the source released it.
        released: ReleasePoint,
    },
    /// Source: the copies that were frozen by the release are not needed any more.
    Retire {
        /// The move.
        id: u64,
    },
}

/// What a source's log has decided about a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Neither released nor cancelled.
    Undecided,
    /// Released, here.
    Released(ReleasePoint),
    /// Cancelled, or older than the newest move of the partition.
    Over,
}

impl Ownership {
    /// Applies the change in the entry at `index`, which is committed when the group's clock is `clock_us`. True if it took
    /// effect; a change that did not leaves everything but `highest` as it was.
    pub fn apply(&mut self, index: u64, clock_us: u64, change: OwnershipChange) -> bool {
        match change {
            OwnershipChange::Birth { epoch } => {
                let unknown = *self == Ownership::default() && epoch > 0;
                if unknown {
                    (self.phase, self.epoch) = (Phase::Owned, epoch);
                }
                unknown
            }
            OwnershipChange::Expect(moving) => {
                let free = matches!(self.phase, Phase::Absent | Phase::Expected(_));
                let accepted = free && moving.id > self.highest && moving.epoch > self.epoch;
                if accepted {
                    (self.phase, self.highest, self.released) = (Phase::Expected(moving), moving.id, None);
                }
                accepted
            }
            OwnershipChange::UnExpect { id } => {
                let expected = matches!(self.phase, Phase::Expected(moving) if moving.id == id);
                if expected {
                    self.phase = Phase::Absent;
                }
                // Also where nothing was expected: a late `Expect` of this move must not follow.
                self.raise(id);
                expected
            }
            OwnershipChange::Release(moving) => {
                let accepted = self.phase == Phase::Owned && moving.id > self.highest && moving.epoch > self.epoch;
                if accepted {
                    (self.phase, self.highest) = (Phase::Released(moving), moving.id);
                    self.released = Some(ReleasePoint { index, clock_us });
                }
                accepted
            }
            OwnershipChange::Cancel { id } => self.raise(id),
            OwnershipChange::Adopt { id, .. } => {
                let Phase::Expected(moving) = self.phase else { return false };
                let expected = moving.id == id;
                if expected {
                    (self.phase, self.epoch) = (Phase::Owned, moving.epoch);
                }
                expected
            }
            OwnershipChange::Retire { id } => {
                let released = matches!(self.phase, Phase::Released(moving) if moving.id == id);
                if released {
                    self.phase = Phase::Absent;
                }
                released
            }
        }
    }

    /// Takes part in move `id` without giving the partition up or taking it; false if that is known already.
    fn raise(&mut self, id: u64) -> bool {
        let newer = id > self.highest;
        if newer {
            (self.highest, self.released) = (id, None);
        }
        newer
    }

    /// What this log, as the source's, has decided about move `id`.
    pub fn decision(&self, id: u64) -> Decision {
        match self.released {
            _ if id > self.highest => Decision::Undecided,
            Some(point) if id == self.highest => Decision::Released(point),
            _ => Decision::Over,
        }
    }

    /// True if the group owns the partition in this epoch.
    pub fn is_owned_in(&self, epoch: u64) -> bool {
        self.phase == Phase::Owned && self.epoch == epoch
    }

    /// Appends the binary form: `format u8 = 1 | phase u8 | epoch u64 | highest u64 | released u8 | [index u64 | clock u64]`,
    /// then, for the phases 2 (expected) and 3 (released), `move u64 | group u32 | epoch u64`.
    pub(crate) fn encode(&self, writer: &mut Writer) {
        let (tag, moving) = match &self.phase {
            Phase::Absent => (0, None),
            Phase::Owned => (1, None),
            Phase::Expected(moving) => (2, Some(moving)),
            Phase::Released(moving) => (3, Some(moving)),
        };
        writer.u8(ROW_FORMAT).u8(tag).u64(self.epoch).u64(self.highest).u8(u8::from(self.released.is_some()));
        if let Some(point) = &self.released {
            point.encode(writer);
        }
        if let Some(moving) = moving {
            moving.encode(writer);
        }
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        if reader.u8()? != ROW_FORMAT {
            return Err(reader.error("an ownership row of a format that this version does not know"));
        }
        let tag = reader.u8()?;
        let (epoch, highest) = (reader.u64()?, reader.u64()?);
        let released = match reader.u8()? {
            0 => None,
            1 => Some(ReleasePoint::decode(reader)?),
            _ => return Err(reader.error("an ownership row with an unknown flag")),
        };
        let phase = match tag {
            0 => Phase::Absent,
            1 => Phase::Owned,
            2 => Phase::Expected(Move::decode(reader)?),
            3 => Phase::Released(Move::decode(reader)?),
            _ => return Err(reader.error("an ownership row in an unknown phase")),
        };
        Ok(Ownership { phase, epoch, highest, released })
    }
}

impl Move {
    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.id).u32(self.other.0).u64(self.epoch);
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Move { id: reader.u64()?, other: GroupId(reader.u32()?), epoch: reader.u64()? })
    }
}

impl ReleasePoint {
    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.index).u64(self.clock_us);
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(ReleasePoint { index: reader.u64()?, clock_us: reader.u64()? })
    }
}

const BIRTH: u8 = 1;
const EXPECT: u8 = 2;
const UN_EXPECT: u8 = 3;
const RELEASE: u8 = 4;
const CANCEL: u8 = 5;
const ADOPT: u8 = 6;
const RETIRE: u8 = 7;

impl OwnershipChange {
    /// Appends the binary form, as it stands in an entry: `tag u8`, then what belongs to it.
    pub(crate) fn encode(&self, writer: &mut Writer) {
        match self {
            OwnershipChange::Birth { epoch } => drop(writer.u8(BIRTH).u64(*epoch)),
            OwnershipChange::Expect(moving) => moving.encode(writer.u8(EXPECT)),
            OwnershipChange::UnExpect { id } => drop(writer.u8(UN_EXPECT).u64(*id)),
            OwnershipChange::Release(moving) => moving.encode(writer.u8(RELEASE)),
            OwnershipChange::Cancel { id } => drop(writer.u8(CANCEL).u64(*id)),
            OwnershipChange::Adopt { id, released } => released.encode(writer.u8(ADOPT).u64(*id)),
            OwnershipChange::Retire { id } => drop(writer.u8(RETIRE).u64(*id)),
        }
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            BIRTH => OwnershipChange::Birth { epoch: reader.u64()? },
            EXPECT => OwnershipChange::Expect(Move::decode(reader)?),
            UN_EXPECT => OwnershipChange::UnExpect { id: reader.u64()? },
            RELEASE => OwnershipChange::Release(Move::decode(reader)?),
            CANCEL => OwnershipChange::Cancel { id: reader.u64()? },
            ADOPT => OwnershipChange::Adopt { id: reader.u64()?, released: ReleasePoint::decode(reader)? },
            RETIRE => OwnershipChange::Retire { id: reader.u64()? },
            _ => return Err(reader.error("a change of ownership that this version does not know")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: GroupId = GroupId(3);
    const T: GroupId = GroupId(8);

    fn to_t(id: u64, epoch: u64) -> Move {
        Move { id, other: T, epoch }
    }

    fn from_s(id: u64, epoch: u64) -> Move {
        Move { id, other: S, epoch }
    }

    fn born() -> Ownership {
        let mut row = Ownership::default();
        assert!(row.apply(2, 5, OwnershipChange::Birth { epoch: 1 }));
        row
    }

    /// Fails if a row is forgotten when a partition leaves: a replica with an old map would bring it back, empty.
    #[test]
    fn a_partition_is_born_once() {
        let mut row = born();
        assert!(row.is_owned_in(1) && !row.is_owned_in(2));
        assert!(!row.apply(3, 5, OwnershipChange::Birth { epoch: 1 }));
        assert!(row.apply(4, 5, OwnershipChange::Release(to_t(1, 2))));
        assert!(row.apply(5, 5, OwnershipChange::Retire { id: 1 }));
        assert!(!row.apply(6, 5, OwnershipChange::Birth { epoch: 1 }));
        assert_eq!(row.phase, Phase::Absent);

        let mut cancelled = Ownership::default();
        cancelled.apply(1, 5, OwnershipChange::UnExpect { id: 4 });
        assert!(!cancelled.apply(2, 5, OwnershipChange::Birth { epoch: 1 }));
        assert!(!Ownership::default().apply(1, 5, OwnershipChange::Birth { epoch: 0 }));
    }

    /// Fails if the last decision wins, or a repetition records another one.
    #[test]
    fn the_first_of_release_and_cancel_wins_and_a_repetition_reads_it() {
        let point = ReleasePoint { index: 9, clock_us: 77 };
        let mut row = born();
        assert_eq!(row.decision(1), Decision::Undecided);
        assert!(row.apply(9, 77, OwnershipChange::Release(to_t(1, 2))));
        assert!(!row.apply(10, 78, OwnershipChange::Release(to_t(1, 2))));
        assert!(!row.apply(11, 79, OwnershipChange::Cancel { id: 1 }));
        assert_eq!(row.decision(1), Decision::Released(point));
        assert!(!row.is_owned_in(1), "the source owns it no more");
        assert!(row.apply(12, 80, OwnershipChange::Retire { id: 1 }));
        assert!(!row.apply(13, 80, OwnershipChange::Retire { id: 1 }));
        assert_eq!(row.decision(1), Decision::Released(point), "the decision outlives the copies");

        let mut row = born();
        assert!(row.apply(9, 77, OwnershipChange::Cancel { id: 1 }));
        assert!(!row.apply(10, 78, OwnershipChange::Release(to_t(1, 2))));
        assert!(row.is_owned_in(1));
        assert_eq!(row.decision(1), Decision::Over);
        // The next move may happen, and the one before it is over for good.
        assert!(row.apply(11, 79, OwnershipChange::Release(to_t(2, 2))));
        assert_eq!(row.decision(1), Decision::Over);
        // A release into an epoch that does not grow would let two owners write under one epoch.
        assert!(!born().apply(9, 77, OwnershipChange::Release(to_t(1, 1))));
    }

    /// Fails if `Adopt` is taken without its `Expect`, or a late `Expect` after the move was given up.
    #[test]
    fn a_target_adopts_only_what_it_expects() {
        let released = ReleasePoint { index: 9, clock_us: 77 };
        let adopt = |id| OwnershipChange::Adopt { id, released };
        let mut row = Ownership::default();
        assert!(!row.apply(1, 1, adopt(4)));
        assert!(row.apply(2, 1, OwnershipChange::Expect(from_s(4, 2))));
        assert!(!row.apply(3, 1, OwnershipChange::Expect(from_s(4, 2))));
        assert!(!row.apply(4, 1, adopt(3)));
        assert!(row.apply(5, 1, adopt(4)));
        assert!(row.is_owned_in(2));
        assert!(!row.apply(6, 1, OwnershipChange::UnExpect { id: 4 }), "after the release a move only goes forward");
        assert!(row.is_owned_in(2));

        let mut row = Ownership::default();
        assert!(!row.apply(1, 1, OwnershipChange::UnExpect { id: 4 }));
        assert!(!row.apply(2, 1, OwnershipChange::Expect(from_s(4, 2))), "the move was given up before");
        assert!(row.apply(3, 1, OwnershipChange::Expect(from_s(5, 2))));
        assert!(row.apply(4, 1, OwnershipChange::Expect(from_s(6, 3))), "a newer move takes its place");
        assert!(!row.apply(5, 1, adopt(5)));
    }

    /// A partition that moves away and comes back has another epoch, and its earlier moves stay decided.
    #[test]
    fn a_partition_comes_back_in_a_higher_epoch() {
        let mut row = born();
        row.apply(9, 77, OwnershipChange::Release(to_t(1, 2)));
        row.apply(10, 77, OwnershipChange::Retire { id: 1 });
        assert!(!row.apply(11, 77, OwnershipChange::Expect(from_s(2, 1))), "an epoch that it had already");
        assert!(row.apply(12, 77, OwnershipChange::Expect(from_s(2, 3))));
        assert_eq!(row.decision(1), Decision::Over);
        let released = ReleasePoint { index: 1, clock_us: 1 };
        assert!(row.apply(13, 77, OwnershipChange::Adopt { id: 2, released }));
        assert!(row.is_owned_in(3) && row.highest == 2 && row.released.is_none());
    }

    #[test]
    fn rows_survive_and_every_shorter_input_is_an_error() {
        let released = Some(ReleasePoint { index: u64::MAX, clock_us: 1 << 50 });
        for row in [
            Ownership::default(),
            born(),
            Ownership { phase: Phase::Expected(from_s(4, 2)), epoch: 1, highest: 4, released: None },
            Ownership { phase: Phase::Released(to_t(4, 2)), epoch: 1, highest: 4, released },
        ] {
            let mut writer = Writer::default();
            row.encode(&mut writer);
            let bytes = writer.finish();
            assert_eq!(Ownership::decode(&mut Reader::new("row", bytes.clone())), Ok(row));
            for length in 0..bytes.len() {
                assert!(Ownership::decode(&mut Reader::new("row", bytes.slice(..length))).is_err(), "{length}");
            }
        }
    }
}
