//! What nobody refers to goes: abandoned uploads, blobs that no manifest needs, holds whose link never came or has gone.
//!
//! A pass looks at every record and may be interrupted anywhere, repeated, or run on two nodes at once: each step is a transaction
//! that looks again. A blob is young while its manifest may still be on its way, so blobs are kept for a while after they came; if
//! one goes too early after all, the manifest's push is refused and says which blob to push again.

use std::time::Duration;

use recoil_oci::Repository;
use recoil_oci::records::{Answer as Record, Command, Content, Hold, LINK_WITHIN_US};

use crate::Registry;
use crate::records::unexpected;
use crate::store::StoreError;

/// A hold without a link is lost when it is this much older than any hold that can still be linked.
const LOST_AFTER_US: u64 = 6 * LINK_WITHIN_US;

/// What a pass has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Links to blobs that no manifest needs.
    pub links: u64,
    /// Uploads and blobs whose bytes have gone.
    pub contents: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Registry {
    /// One pass, `now_us` being the time: what has been unneeded for `kept` goes.
    pub async fn collect(&self, now_us: u64, kept: Duration) -> Result<Collected, StoreError> {
        let before_us = now_us.saturating_sub(u64::try_from(kept.as_micros()).unwrap_or(u64::MAX));
        let mut collected = Collected::default();
        for partition in 0..self.records.store.partitions() {
            let mut after = String::new();
            loop {
                let names = match self.records.ask_partition(partition, Command::Repositories { after }).await? {
                    Record::Repositories { names } => names,
                    Record::Absent => return Ok(collected),
                    other => return Err(unexpected(other)),
                };
                let Some(last) = names.last().cloned() else { break };
                for name in names {
                    self.sweep(&name, before_us, &mut collected).await?;
                }
                after = last;
            }
            let mut after = String::new();
            loop {
                let contents = match self.records.ask_partition(partition, Command::Contents { after }).await? {
                    Record::Contents { contents } => contents,
                    Record::Absent => return Ok(collected),
                    other => return Err(unexpected(other)),
                };
                let Some(last) = contents.last().map(|content| content.id.clone()) else { break };
                for content in contents {
                    self.look_at(content, now_us, before_us, &mut collected).await?;
                }
                after = last;
            }
        }
        Ok(collected)
    }

    async fn sweep(&self, name: &str, before_us: u64, collected: &mut Collected) -> Result<(), StoreError> {
        let Ok(repository) = name.parse::<Repository>() else { return Ok(()) };
        let mut after = String::new();
        loop {
            let sweep = Command::Sweep { repository: repository.clone(), before_us, after };
            let (links, next) = match self.records.ask(sweep).await? {
                Record::Links { links, next } => (links, next),
                other => return Err(unexpected(other)),
            };
            for link in links {
                collected.links += 1;
                self.release(&link.content, &link.token, collected).await?;
            }
            let Some(next) = next else { return Ok(()) };
            after = next.into();
        }
    }

    async fn look_at(
        &self,
        content: Content,
        now_us: u64,
        before_us: u64,
        collected: &mut Collected,
    ) -> Result<(), StoreError> {
        if content.going.is_some() {
            // What is removed again is not counted again.
            return self.records.remove(&content).await;
        }
        if !content.sealed {
            if content.touched_us < before_us {
                let discard = Command::Discard { id: content.id, untouched_since_us: before_us };
                if let Record::Content { content, .. } = self.records.ask(discard).await?
                    && content.going.is_some()
                {
                    self.remove(content, collected).await?;
                }
            }
            return Ok(());
        }
        for hold in &content.holds {
            if now_us > hold.since_us.saturating_add(LOST_AFTER_US) && !self.is_linked(&content, hold).await? {
                self.release(&content.id, &hold.token, collected).await?;
            }
        }
        Ok(())
    }

    async fn is_linked(&self, content: &Content, hold: &Hold) -> Result<bool, StoreError> {
        let find = Command::Find { repository: hold.repository.clone(), digest: hold.digest.clone() };
        match self.records.ask(find).await? {
            Record::Link { link } => Ok(link.content == content.id && link.token == hold.token),
            Record::Absent => Ok(false),
            other => Err(unexpected(other)),
        }
    }

    async fn release(&self, id: &str, token: &str, collected: &mut Collected) -> Result<(), StoreError> {
        let release = Command::Release { id: id.to_owned(), token: token.to_owned() };
        match self.records.ask(release).await? {
            Record::Content { content, .. } if content.going.is_some() => self.remove(content, collected).await,
            Record::Content { .. } | Record::Absent => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    async fn remove(&self, content: Content, collected: &mut Collected) -> Result<(), StoreError> {
        collected.contents += 1;
        collected.bytes += content.received();
        self.records.remove(&content).await
    }
}
