//! The meta group's machine: applies commands, writes the rows that they change, publishes each state.
//!
//! An entry or a row that this version cannot read stops the replica before anything of the entry is written, and the node with it: the
//! reason is sent to whoever holds [`MetaFollower::failed`], beside being returned to the group.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use recoil_cluster::MetaState;
use recoil_cluster::meta::{MetaReply, Refusal, RefusalKind};
use recoil_consensus::CustomMachine;
use recoil_storage::Write;
use tokio::sync::watch;

/// The byte behind the index in the answer to an entry that changed the state.
const APPLIED: u8 = 0;

/// The machine, and the sending ends of what it publishes.
pub(crate) struct MetaMachine {
    state: MetaState,
    senders: MetaSenders,
}

/// The sending ends, for a machine that takes the place of one whose group is opened again.
#[derive(Clone)]
pub(crate) struct MetaSenders {
    publish: watch::Sender<Arc<MetaState>>,
    failure: watch::Sender<Option<String>>,
}

/// What the rest of the node sees of the machine.
pub(crate) struct MetaFollower {
    /// The newest state.
    pub(crate) states: watch::Receiver<Arc<MetaState>>,
    /// Why the machine has stopped for good.
    pub(crate) failed: watch::Receiver<Option<String>>,
    /// For [`MetaMachine::again`].
    pub(crate) senders: MetaSenders,
}

impl MetaMachine {
    pub(crate) fn new() -> (Self, MetaFollower) {
        let ((publish, states), (failure, failed)) = (watch::channel(Arc::default()), watch::channel(None));
        let senders = MetaSenders { publish, failure };
        (Self::again(senders.clone()), MetaFollower { states, failed, senders })
    }

    /// A machine that publishes to whoever followed the one before.
    pub(crate) fn again(senders: MetaSenders) -> Self {
        MetaMachine { state: MetaState::default(), senders }
    }

    fn fail(&self, error: recoil_cluster::MetaError) -> io::Error {
        self.senders.failure.send_replace(Some(error.to_string()));
        io::Error::other(error)
    }
}

/// `index u64 | 0`, or `index u64 | kind u8 | message` of the refusal.
fn encode_answer(index: u64, reply: MetaReply) -> Bytes {
    let mut answer = index.to_le_bytes().to_vec();
    match reply {
        Ok(()) => answer.push(APPLIED),
        Err(Refusal { kind, message }) => {
            answer.push(kind as u8);
            answer.extend_from_slice(message.as_bytes());
        }
    }
    answer.into()
}

/// What an entry was answered: its index and, if it changed nothing, why.
///
/// # Errors
/// What is wrong with the answer.
pub(crate) fn decode_answer(answer: &[u8]) -> Result<(u64, MetaReply), String> {
    let (index, reply) = answer.split_first_chunk().ok_or("the meta leader's answer has fewer than 8 bytes")?;
    let reply = match reply.split_first() {
        Some((&APPLIED, [])) => Ok(()),
        Some((kind, message)) => {
            let kind = RefusalKind::from_byte(*kind).ok_or("the meta leader's answer is of an unknown kind")?;
            Err(Refusal { kind, message: String::from_utf8_lossy(message).into_owned() })
        }
        None => return Err("the meta leader's answer ends after its index".into()),
    };
    Ok((u64::from_le_bytes(*index), reply))
}

impl CustomMachine for MetaMachine {
    fn apply(&mut self, index: u64, entry: Bytes, write: &mut dyn FnMut(Write)) -> io::Result<Bytes> {
        let applied = self.state.apply_entry(index, &entry, |key, value| {
            let key = key.encode();
            write(match value {
                Some(value) => Write::Put { key, value },
                None => Write::Remove { key },
            });
        });
        let reply = applied.map_err(|error| self.fail(error))?;
        Ok(encode_answer(index, reply))
    }

    fn load(&mut self, rows: Vec<(Bytes, Bytes)>) -> io::Result<()> {
        self.state = MetaState::load(rows).map_err(|error| self.fail(error))?;
        self.visible();
        Ok(())
    }

    fn visible(&mut self) {
        self.senders.publish.send_replace(Arc::new(self.state.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if the kind of a refusal is lost on its way to whoever proposed, or an answer of another form is taken.
    #[test]
    fn answers_arrive_as_they_were_given() {
        for reply in [Ok(()), Err(Refusal::not_found("a")), Err(Refusal::conflict("")), Err(Refusal::invalid("b"))] {
            assert_eq!(decode_answer(&encode_answer(7, reply.clone())), Ok((7, reply)));
        }
        for wrong in [&[][..], &[0; 7], &[0; 8], &[0, 0, 0, 0, 0, 0, 0, 0, 9], &[0; 10]] {
            assert!(decode_answer(wrong).is_err(), "{wrong:?}");
        }
    }
}
