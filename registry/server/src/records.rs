//! Asking for records: one method, typed questions and answers, and where each is kept.

use std::sync::Arc;

use bytes::Bytes;
use recoil_oci::Repository;
use recoil_oci::records::{Answer, Command, Content, Id, Part, decode, encode};

use crate::store::{Mode, Place, Store, StoreError};

/// Chunks removed at a time.
const REMOVE_BATCH: usize = 256;

/// The store, spoken to in records.
#[derive(Clone)]
pub(crate) struct Records {
    pub(crate) store: Arc<dyn Store>,
}

/// True if a text is what [`Records::new_id`] makes.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The key of a part's chunk.
pub(crate) fn chunk_key(part: &str, number: u32) -> Vec<u8> {
    let mut key = vec![b'D'];
    key.extend_from_slice(part.as_bytes());
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn content_place(id: &str) -> Place {
    Place::Key(format!("content/{id}").into_bytes())
}

fn repository_place(name: &Repository) -> Place {
    Place::Key(format!("repository/{name}").into_bytes())
}

fn place(command: &Command) -> Place {
    match command {
        Command::Begin { id, .. }
        | Command::Content { id }
        | Command::OpenPart { id, .. }
        | Command::Advance { id, .. }
        | Command::Seal { id, .. }
        | Command::Hold { id, .. }
        | Command::Release { id, .. }
        | Command::Discard { id, .. }
        | Command::Forget { id } => content_place(id),
        Command::Link { repository, .. }
        | Command::Touch { repository, .. }
        | Command::Find { repository, .. }
        | Command::Unlink { repository, .. }
        | Command::Sweep { repository, .. }
        | Command::PutManifest { repository, .. }
        | Command::Manifest { repository, .. }
        | Command::RemoveManifest { repository, .. }
        | Command::Tags { repository, .. }
        | Command::Referrers { repository, .. } => repository_place(repository),
        // Of a partition; whoever asks names it.
        Command::Contents { .. } | Command::Repositories { .. } => Place::Partition(0),
    }
}

fn mode(command: &Command) -> Mode {
    match command {
        Command::Content { .. }
        | Command::Contents { .. }
        | Command::Find { .. }
        | Command::Manifest { .. }
        | Command::Tags { .. }
        | Command::Referrers { .. }
        | Command::Repositories { .. } => Mode::Read,
        _ => Mode::Write,
    }
}

pub(crate) fn unexpected(answer: Answer) -> StoreError {
    StoreError::Failed(format!("the registry's records gave an answer that does not fit: {answer:?}"))
}

impl Records {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Records { store }
    }

    /// A name that nobody else has.
    pub(crate) fn new_id(&self) -> Id {
        self.store.random().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What a command comes to. Where nothing was ever written, everything is absent.
    pub(crate) async fn ask(&self, command: Command) -> Result<Answer, StoreError> {
        Ok(self.ask_with(command, b"").await?.0)
    }

    /// The same with something attached, both ways.
    pub(crate) async fn ask_with(&self, command: Command, attachment: &[u8]) -> Result<(Answer, Bytes), StoreError> {
        let place = place(&command);
        self.ask_at(place, command, attachment).await
    }

    /// The same of a partition.
    pub(crate) async fn ask_partition(&self, partition: u32, command: Command) -> Result<Answer, StoreError> {
        Ok(self.ask_at(Place::Partition(partition), command, b"").await?.0)
    }

    async fn ask_at(&self, place: Place, command: Command, attachment: &[u8]) -> Result<(Answer, Bytes), StoreError> {
        let answer = self.store.ask(place, encode(&command, attachment), mode(&command)).await?;
        let Some(bytes) = answer else { return Ok((Answer::Absent, Bytes::new())) };
        let (answer, attached) = decode::<Answer>(&bytes).map_err(StoreError::Failed)?;
        let attached = bytes.slice_ref(attached);
        Ok((answer, attached))
    }

    /// Removes a content that is going, chunks first. Interrupted, the collection does it again.
    pub(crate) async fn remove(&self, content: &Content) -> Result<(), StoreError> {
        for Part { id, reserved, .. } in &content.parts {
            for start in (0..*reserved).step_by(REMOVE_BATCH) {
                let end = reserved.min(&(start + REMOVE_BATCH as u32)).to_owned();
                self.store.remove_chunks((start..end).map(|number| chunk_key(id, number)).collect()).await?;
            }
        }
        self.ask(Command::Forget { id: content.id.clone() }).await?;
        Ok(())
    }

    /// The same, beside the request that caused it.
    pub(crate) fn remove_later(&self, content: Content) {
        let records = self.clone();
        self.store.background(Box::pin(async move {
            if let Err(error) = records.remove(&content).await {
                tracing::warn!(content = content.id, %error, "a blob's bytes stay until the next collection");
            }
        }));
    }

    /// Ends a hold, and removes the content if it was the last.
    pub(crate) async fn release(&self, content: &str, token: &str) -> Result<(), StoreError> {
        let release = Command::Release { id: content.to_owned(), token: token.to_owned() };
        if let Answer::Content { content, .. } = self.ask(release).await?
            && content.going.is_some()
        {
            self.remove_later(content);
        }
        Ok(())
    }
}
