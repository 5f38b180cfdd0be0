//! XCLAIM and XAUTOCLAIM: pending entries that go from one consumer to another.
//!
//! Invariant: an entry that is no longer in the stream is not claimed, but stops being pending.

use super::group_commands::stream_and_group;
use super::groups::{Consumer, Consumers, Group, Pending};
use super::{Id, Stream, push_entry};
use crate::arguments::{Options, is};
use crate::executor::Call;
use crate::keyspace::{Failure, Outcome};
use crate::numbers::parse_i64;
use crate::resp::push_array;
use crate::strings::SYNTAX;

/// What the two commands have in common while they run.
struct Claims<'c> {
    stream: Stream,
    group: Group,
    consumers: Consumers,
    /// The number of the consumer that claims.
    to: u64,
    now_ms: u64,
    just_ids: bool,
    /// When the claimed entries are said to have been delivered.
    delivered_ms: u64,
    times: Option<u64>,
    idle_ms: u64,
    claimed: usize,
    reply: &'c mut Vec<u8>,
}

impl Claims<'_> {
    /// Claim an entry, which is there. False if it has not been idle for long enough.
    fn claim(
        &mut self,
        call: &mut Call<'_, '_>,
        id: Id,
        before: Option<Pending>,
        fields: &[u8],
    ) -> Result<bool, Failure> {
        if before.is_some_and(|before| self.now_ms.saturating_sub(before.delivered_ms) < self.idle_ms) {
            return Ok(false);
        }
        // One that a claim by force makes pending has been delivered once by that.
        let times = before.map_or(1, |before| before.times);
        let times = self.times.unwrap_or(times + u64::from(!self.just_ids));
        let pending = Pending { id, consumer: self.to, delivered_ms: self.delivered_ms, times };
        self.group.put_pending(call.keyspace, &mut self.consumers, before, pending)?;
        if self.just_ids {
            id.push(self.reply)
        } else {
            push_entry(self.reply, id, fields)?
        }
        crate::executor::check_reply(self.reply)?;
        self.claimed += 1;
        Ok(true)
    }

    fn finish(mut self, call: &mut Call<'_, '_>) -> Result<usize, Failure> {
        let (now_ms, to, claimed) = (self.now_ms, self.to, self.claimed);
        let (consumer, _) = self.consumers.get(&self.group, call.keyspace, to)?;
        if claimed > 0 {
            consumer.active_ms = Some(now_ms);
        }
        self.consumers.save(&self.group, call.keyspace)?;
        self.group.save(call.keyspace)?;
        Ok(claimed)
    }
}

fn known(consumer: Consumer, now_ms: u64) -> (u64, Consumers) {
    let (number, mut consumers) = (consumer.number, Consumers::default());
    consumers.insert(Consumer { seen_ms: now_ms, ..consumer });
    (number, consumers)
}

/// What XCLAIM's arguments behind the ids say.
#[derive(Default)]
struct ClaimOptions {
    force: bool,
    just_ids: bool,
    delivered_ms: Option<i64>,
    times: Option<u64>,
    last: Option<Id>,
}

impl ClaimOptions {
    fn parse(options: &[&[u8]], now_ms: i64) -> Result<Self, Failure> {
        let (mut options, mut parsed) = (Options(options), ClaimOptions::default());
        while let Some(option) = options.next() {
            let more = !options.0.is_empty();
            let mut number = |name: &str| -> Result<i64, Failure> {
                let value = parse_i64(options.value()?);
                value.ok_or_else(|| format!("ERR Invalid {name} option argument for XCLAIM").into())
            };
            if is(option, "FORCE") {
                parsed.force = true;
            } else if is(option, "JUSTID") {
                parsed.just_ids = true;
            } else if is(option, "IDLE") && more {
                parsed.delivered_ms = Some(now_ms.saturating_sub(number("IDLE")?));
            } else if is(option, "TIME") && more {
                parsed.delivered_ms = Some(number("TIME")?);
            } else if is(option, "RETRYCOUNT") && more {
                // Below zero it is not given, as in Redis.
                parsed.times = u64::try_from(number("RETRYCOUNT")?).ok();
            } else if is(option, "LASTID") && more {
                parsed.last = Some(Id::parse(options.value()?, 0)?);
            } else {
                let option = String::from_utf8_lossy(option);
                return Err(format!("ERR Unrecognized XCLAIM option '{option}'").into());
            }
        }
        Ok(parsed)
    }
}

/// XCLAIM.
pub(super) fn claim(call: &mut Call<'_, '_>) -> Outcome {
    let (key, name, consumer) = (call.arguments.required()?, call.arguments.required()?, call.arguments.required()?);
    let (stream, mut group) = stream_and_group(call, key, name)?;
    let idle_ms = parse_i64(call.arguments.required()?).ok_or("ERR Invalid min-idle-time argument for XCLAIM")?;
    let words = call.rest()?;
    let ids: Vec<Id> = words.iter().map_while(|word| Id::parse(word, 0).ok()).collect();
    let now_ms = call.keyspace.now_us() / 1000;
    let options = ClaimOptions::parse(&words[ids.len()..], now_ms as i64)?;
    group.last = group.last.max(options.last.unwrap_or(Id::MIN));
    let delivered_ms =
        options.delivered_ms.and_then(|at_ms| u64::try_from(at_ms).ok()).filter(|at_ms| *at_ms <= now_ms);
    let (consumer, _) = group.consumer_or_new(call.keyspace, consumer)?;
    let (to, consumers) = known(consumer, now_ms);
    let mut reply = Vec::new();
    let mut claims = Claims {
        stream,
        group,
        consumers,
        to,
        now_ms,
        just_ids: options.just_ids,
        delivered_ms: delivered_ms.unwrap_or(now_ms),
        times: options.times,
        idle_ms: idle_ms.max(0) as u64,
        claimed: 0,
        reply: &mut reply,
    };
    for id in ids {
        let before = claims.group.get_pending(call.keyspace, id)?;
        match (claims.stream.get(call.keyspace, id)?, before) {
            (None, Some(before)) => claims.group.remove_pending(call.keyspace, &mut claims.consumers, before)?,
            (Some(fields), before) if before.is_some() || options.force => {
                claims.claim(call, id, before, &fields)?;
            }
            _ => {}
        }
    }
    let claimed = claims.finish(call)?;
    push_array(&mut call.reply, claimed);
    call.reply.append(&mut reply);
    Ok(())
}

/// Pending entries that XAUTOCLAIM looks at for each that it may claim.
const ATTEMPTS: u64 = 10;
/// The largest COUNT of XAUTOCLAIM.
const COUNT_MAX: u64 = 10_000;

/// XAUTOCLAIM.
pub(super) fn claim_some(call: &mut Call<'_, '_>) -> Outcome {
    let (key, name, consumer) = (call.arguments.required()?, call.arguments.required()?, call.arguments.required()?);
    let idle_ms = parse_i64(call.arguments.required()?).ok_or("ERR Invalid min-idle-time argument for XAUTOCLAIM")?;
    let start = Id::parse_bound(call.arguments.required()?, false)?;
    let options = call.rest()?;
    let (mut options, mut count, mut just_ids) = (Options(&options), 100, false);
    while let Some(option) = options.next() {
        if is(option, "COUNT") && !options.0.is_empty() {
            let given = parse_i64(options.value()?).and_then(|count| u64::try_from(count).ok());
            count = given.filter(|count| *count > 0).ok_or("ERR COUNT must be > 0")?;
        } else if is(option, "JUSTID") {
            just_ids = true;
        } else {
            return Err(SYNTAX.into());
        }
    }
    let (stream, mut group) = stream_and_group(call, key, name)?;
    let now_ms = call.keyspace.now_us() / 1000;
    let (consumer, _) = group.consumer_or_new(call.keyspace, consumer)?;
    let (to, consumers) = known(consumer, now_ms);
    let (mut count, mut reply, mut deleted) = (count.min(COUNT_MAX), Vec::new(), Vec::new());
    let (mut candidates, attempts) = (Vec::new(), count * ATTEMPTS);
    group.visit_pending(call.keyspace, (start, Id::MAX), |pending| {
        candidates.push(pending);
        // One more, where the next call goes on.
        Ok(candidates.len() as u64 > attempts)
    })?;
    let idle_ms = idle_ms.max(0) as u64;
    let (delivered_ms, times, claimed) = (now_ms, None, 0);
    let mut claims = Claims {
        stream,
        group,
        consumers,
        to,
        now_ms,
        just_ids,
        delivered_ms,
        times,
        idle_ms,
        claimed,
        reply: &mut reply,
    };
    let mut looked_at = 0;
    for pending in candidates.iter().take(attempts as usize) {
        if count == 0 {
            break;
        }
        looked_at += 1;
        match claims.stream.get(call.keyspace, pending.id)? {
            None => {
                claims.group.remove_pending(call.keyspace, &mut claims.consumers, *pending)?;
                deleted.push(pending.id);
                count -= 1;
            }
            Some(fields) => count -= u64::from(claims.claim(call, pending.id, Some(*pending), &fields)?),
        }
    }
    let claimed = claims.finish(call)?;
    push_array(&mut call.reply, 3);
    candidates.get(looked_at).map_or(Id::MIN, |pending| pending.id).push(&mut call.reply);
    push_array(&mut call.reply, claimed);
    call.reply.append(&mut reply);
    push_array(&mut call.reply, deleted.len());
    deleted.into_iter().for_each(|id| id.push(&mut call.reply));
    call.check_reply()
}
