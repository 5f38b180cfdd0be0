//! The meta group's machine: applies commands, keeps the rows, publishes each state.

use std::sync::Arc;

use bytes::Bytes;
use recoil_base::{AppId, Digest, GroupId};
use recoil_cluster::{MetaCommand, MetaState};
use recoil_consensus::{CustomMachine, Locals, machine};
use recoil_storage::{Data, DataError, Write, key};
use tokio::sync::watch;

const STATE_KEY: &[u8] = b"\x01state";
const CHUNK_KIND: u8 = 2;

/// The machine, and the sending end of the states it publishes.
pub(crate) struct MetaMachine {
    state: MetaState,
    publish: watch::Sender<Arc<MetaState>>,
}

impl MetaMachine {
    pub(crate) fn new() -> (Self, watch::Receiver<Arc<MetaState>>) {
        let (publish, states) = watch::channel(Arc::default());
        (MetaMachine { state: MetaState::default(), publish }, states)
    }
}

/// What an entry was answered: its index and, if it changed nothing, why.
pub(crate) fn decode_answer(answer: &[u8]) -> Result<(u64, Option<String>), String> {
    let (index, why) = answer.split_first_chunk().ok_or("the meta leader's answer has fewer than 8 bytes")?;
    let why = (!why.is_empty()).then(|| String::from_utf8_lossy(why).into_owned());
    Ok((u64::from_le_bytes(*index), why))
}

fn chunk_key(digest: Digest, index: u32) -> Bytes {
    let mut key = vec![CHUNK_KIND];
    key.extend_from_slice(&digest.0);
    key.extend_from_slice(&index.to_be_bytes());
    key.into()
}

impl CustomMachine for MetaMachine {
    fn apply(&mut self, index: u64, entry: Bytes, write: &mut dyn FnMut(Write)) -> Bytes {
        let reply = match MetaCommand::decode(entry) {
            Ok((command, attachment)) => self.state.apply(command, &attachment, &mut |digest, chunk, bytes| {
                let key = chunk_key(digest, chunk);
                write(match bytes {
                    Some(value) => Write::Put { key, value },
                    None => Write::Remove { key },
                });
            }),
            Err(error) => Err(error.to_string()),
        };
        self.state.index = index;
        let value = serde_json::to_vec(&self.state).expect("the meta state has only text keys");
        write(Write::Put { key: Bytes::from_static(STATE_KEY), value: value.into() });
        let mut answer = index.to_le_bytes().to_vec();
        answer.extend_from_slice(reply.err().unwrap_or_default().as_bytes());
        answer.into()
    }

    fn load(&mut self, rows: Vec<(Bytes, Bytes)>) {
        let stored = rows.iter().find(|(key, _)| key == STATE_KEY);
        match stored.map(|(_, value)| serde_json::from_slice(value)) {
            Some(Ok(state)) => self.state = state,
            Some(Err(error)) => tracing::error!(%error, "the stored meta state cannot be read"),
            None => {}
        }
        self.visible();
    }

    fn visible(&mut self) {
        self.publish.send_replace(Arc::new(self.state.clone()));
    }
}

/// The bytes of a stored package. Blocks.
pub(crate) fn read_package(
    data: &Data,
    locals: &Locals,
    digest: Digest,
    chunks: u32,
) -> Result<Option<Vec<u8>>, DataError> {
    let Some(local) = locals.get(GroupId::META, machine::custom_partition(GroupId::META)) else { return Ok(None) };
    let prefix = key::prefix(local.copy, AppId(0));
    let mut archive = Vec::new();
    for index in 0..chunks {
        let mut full = prefix.to_vec();
        full.extend_from_slice(&chunk_key(digest, index));
        let Some(chunk) = data.get(&full)? else { return Ok(None) };
        archive.extend_from_slice(&chunk);
    }
    Ok(Some(archive))
}
