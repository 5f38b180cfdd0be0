//! Publishing on a partition: PUBLISH, SPUBLISH, and who listens to patterns.
//!
//! ```text
//! pattern row    0b → until (8): somebody may listen to patterns until then
//! ```
//!
//! A message goes to the topic of its channel. Topics have no patterns; so while the row says that somebody listens to some, a
//! message also goes, behind the name of its channel, to one topic for all, whose listeners match. The row is a lease that
//! every connection with patterns renews on every partition; it costs PUBLISH one read while nobody has any.
//!
//! Invariant: the lease is written on all partitions before PSUBSCRIBE is answered, and outlives FLUSHALL.

use recoil_sdk::encoding::push_bytes;

use crate::executor::Call;
use crate::keyspace::{Failure, Keyspace, Outcome, damaged};
use crate::resp::push_integer;

/// The key of the pattern row.
pub(crate) const ROW_PATTERNS: u8 = 0x0b;
/// The topic of all messages. A client may name a channel so, too: what it publishes there is matched like any message.
pub(crate) const TOPIC_OF_ALL: &[u8] = b"\0patterns";
/// How long a lease lasts, and what it must have left to be renewed without a write.
const LEASE_US: u64 = 90_000_000;
const ENOUGH_US: u64 = 60_000_000;
/// How often a connection with patterns renews them.
pub(crate) const RENEW_MS: u64 = 20_000;

/// The topic of a shard channel.
pub(crate) fn shard_topic(channel: &[u8]) -> Vec<u8> {
    [&b"\0shard\0"[..], channel].concat()
}

fn lease_until(keyspace: &Keyspace<'_>) -> Result<u64, Failure> {
    let row = keyspace.transaction.get(&[ROW_PATTERNS])?;
    row.map_or(Ok(0), |row| row.try_into().map(u64::from_le_bytes).map_err(|_| damaged("a pattern row without a time")))
}

/// PUBLISH: nobody knows how many will get it, so the answer is 0.
pub(crate) fn publish(call: &mut Call<'_, '_>) -> Outcome {
    let (channel, message) = (call.arguments.required()?, call.arguments.required()?);
    call.keyspace.transaction.publish(channel, message);
    if lease_until(call.keyspace)? > call.keyspace.now_us() {
        let mut framed = Vec::with_capacity(channel.len() + message.len() + 4);
        push_bytes(&mut framed, channel);
        framed.extend_from_slice(message);
        call.keyspace.transaction.publish(TOPIC_OF_ALL, &framed);
    }
    push_integer(&mut call.reply, 0);
    Ok(())
}

/// SPUBLISH.
pub(crate) fn publish_to_shard(call: &mut Call<'_, '_>) -> Outcome {
    let (channel, message) = (call.arguments.required()?, call.arguments.required()?);
    call.keyspace.transaction.publish(&shard_topic(channel), message);
    push_integer(&mut call.reply, 0);
    Ok(())
}

/// `Op::Patterns`: somebody listens to patterns.
pub(crate) fn renew(call: &mut Call<'_, '_>) -> Outcome {
    let now_us = call.keyspace.now_us();
    if lease_until(call.keyspace)? < now_us + ENOUGH_US {
        call.keyspace.transaction.put(&[ROW_PATTERNS], &(now_us + LEASE_US).to_le_bytes())?;
    }
    Ok(())
}
