//! The side of the node that evaluates: calls that came in a frame, or stayed on this node, on their way to their mailboxes.
//!
//! Each is judged by the newest placement that this node knows ([`super::redirects::judge`]) and its answer gathered for its frame. Bounded:
//! calls that wait for a table do so for [`TABLE_WAIT`]; they are of requests that are being served, whose bytes the stream bounds.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use recoil_base::NodeId;
use recoil_consensus::{Origin, PartitionRef};

use super::Router;
use super::redirects::{Verdict, judge};
use crate::calls::gather::Gathering;
use crate::calls::{Batch, Miss, PartitionCall, Reply, Request, encode_piece};
use crate::evaluate::{Call, CallId, Work};
use crate::meta::Placement;
use crate::peers::MorePieces;
use crate::routing::RoutingTable;

/// How long calls wait for this node to learn what their caller knows of the cluster, or to take a partition over. Then they are sent again,
/// maybe to another node.
const TABLE_WAIT: Duration = Duration::from_millis(100);

/// A call that is started, with what takes its answer.
type Started = (Reply, PartitionCall);

impl Router {
    /// Serves calls that another node routed here. Puts them into the mailboxes before it returns, if this node knows of the
    /// cluster what the caller does. Answers leave as they come, those that are ready together in one piece.
    pub fn serve(&self, from: NodeId, body: Bytes, more: MorePieces) -> BoxFuture<'static, Result<Bytes, String>> {
        let batch = match Batch::decode(body) {
            Ok(batch) => batch,
            Err(error) => return Box::pin(async move { Err(error.to_string()) }),
        };
        let origin = Origin { node: from, incarnation: batch.incarnation };
        let Some(table) = self.table() else {
            let again: Vec<_> = (0..batch.calls.len() as u32).map(|place| (place, Err(Miss::Again))).collect();
            return Box::pin(async move { Ok(encode_piece(&again)) });
        };
        let answering = self.start_here(&table, origin, batch.meta_index, batch.calls);
        Box::pin(async move {
            loop {
                let piece = answering.next().await;
                let body = encode_piece(&piece.answered);
                // The answers are in the body, and no longer held to their app.
                drop(piece.answered);
                if piece.is_last {
                    return Ok(body);
                }
                more.send(body).await;
            }
        })
    }

    /// Starts calls on this node, from `origin`, which has the table of `index`. Those that go by a placement that this node does not know
    /// yet wait for its table; the others are in the mailboxes when this returns.
    pub(super) fn start_here(
        &self,
        table: &RoutingTable,
        origin: Origin,
        index: u64,
        calls: Vec<PartitionCall>,
    ) -> Arc<Gathering> {
        let gathering = Gathering::new(calls.len());
        let calls = calls.into_iter().enumerate().map(|(place, call)| (gathering.reply(place), call));
        let behind = self.enqueue(table, origin, index, calls);
        if !behind.is_empty() {
            let router = self.clone();
            self.inner.host.runtime().spawn(async move { router.enqueue_behind(origin, index, behind).await });
        }
        gathering
    }

    /// Puts calls into their mailboxes, or answers where they have to go. Gives back those that must wait for a table.
    fn enqueue(
        &self,
        table: &RoutingTable,
        origin: Origin,
        index: u64,
        calls: impl IntoIterator<Item = Started>,
    ) -> Vec<Started> {
        let mut behind = Vec::new();
        let host = &self.inner.host;
        host.enqueue(calls.into_iter().filter_map(|(reply, call)| {
            match if table.index < index { Verdict::Behind } else { self.judge(table, &call) } {
                Verdict::Take => {
                    let id = CallId { origin, sequence: call.sequence, acked: call.acked };
                    let work = Work::Asked(call.request, id);
                    Some((call.partition, Call { app: call.app, mode: call.mode, work, reply }))
                }
                Verdict::Moved(Placement { group, epoch }) => {
                    reply(Err(Miss::Moved { group, epoch }));
                    None
                }
                Verdict::Behind => {
                    behind.push((reply, call));
                    None
                }
            }
        }));
        behind
    }

    /// What this node does with a call. Of a transaction's other partitions it only matters whether their placements are known here:
    /// where they have moved is nothing that the transaction's own partition could be looked for at.
    fn judge(&self, table: &RoutingTable, call: &PartitionCall) -> Verdict {
        let leads =
            |placement: Placement| self.inner.host.group(placement.group).is_some_and(|g| g.session().is_some());
        let host = &self.inner.host;
        let of = |partition, epoch| {
            let is_known = table.placement_of(partition).is_some_and(|known| known.epoch == epoch);
            // The source has said that it has moved here, and this node is about to see that.
            if !is_known && host.expects(partition, epoch) {
                return Verdict::Behind;
            }
            judge(epoch, self.known_here(table, partition, epoch), leads)
        };
        match &call.request {
            Request::All(parts) if parts.iter().any(|part| of(part.partition, part.epoch) == Verdict::Behind) => {
                Verdict::Behind
            }
            _ => of(call.partition, call.epoch),
        }
    }

    /// The newest placement of a partition that this node knows: by its table, or by its own copy.
    fn known_here(&self, table: &RoutingTable, partition: PartitionRef, epoch: u64) -> Option<Placement> {
        let known = table.placement_of(partition);
        if known.is_some_and(|known| known.epoch == epoch) {
            return known;
        }
        known.into_iter().chain(self.inner.host.placement_here(partition)).max_by_key(|placement| placement.epoch)
    }

    /// Starts calls once this node knows what their origin does, by a table or by the log of a group here, or has them sent again if that
    /// does not come soon.
    async fn enqueue_behind(&self, origin: Origin, index: u64, mut calls: Vec<Started>) {
        let (mut tables, mut owned) = (self.inner.table.subscribe(), self.inner.host.ownership_changes());
        let late = tokio::time::sleep(TABLE_WAIT);
        tokio::pin!(late);
        loop {
            // One may have come since the calls were looked at.
            owned.mark_unchanged();
            let table = tables.borrow_and_update().clone();
            if let Some(table) = table {
                calls = self.enqueue(&table, origin, index, calls);
            }
            if calls.is_empty() {
                return;
            }
            tokio::select! {
                changed = tables.changed() => if changed.is_err() { break },
                changed = owned.changed() => if changed.is_err() { break },
                () = &mut late => break,
            }
        }
        calls.into_iter().for_each(|(reply, _)| reply(Err(Miss::Again)));
    }
}
