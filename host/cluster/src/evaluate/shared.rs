//! Handler instances that answer for any partition of an app, for packages that keep nothing of a partition in memory between calls.
//!
//! There are as many as calls are evaluated at a time, where there would be one for each partition: with thousands of partitions most
//! calls would begin with making an instance. The one used last is used first, so that few are in use on a quiet node.
//!
//! Bounded by the evaluation threads; not counted among the instances that a node keeps for partitions, and never evicted for another.

use bytes::Bytes;
use parking_lot::Mutex;
use recoil_engine::{CallBody, CallError, HandlerInstance, Transaction};

use super::EvaluatedApp;

/// See the module's text.
#[derive(Default)]
pub struct SharedInstances {
    idle: Mutex<Vec<HandlerInstance>>,
}

impl SharedInstances {
    /// Runs one call on an instance that nobody uses, made if there is none. One that trapped is not used again, nor a large one of an
    /// app that has used half of its memory.
    pub(super) fn evaluate(
        &self,
        app: &EvaluatedApp,
        transaction: Transaction,
        body: &CallBody,
    ) -> (Transaction, Result<Bytes, CallError>) {
        let idle = self.idle.lock().pop();
        let mut instance = match idle.map_or_else(|| app.code.new_handler(app.environment()), Ok) {
            Ok(instance) => instance,
            Err(error) => return (transaction, Err(error)),
        };
        let evaluated = instance.evaluate(transaction, body);
        let takes_room = app.is_short_of_memory() && instance.memory_bytes() > 0;
        if !instance.is_poisoned() && !takes_room {
            self.idle.lock().push(instance);
        }
        evaluated
    }
}
