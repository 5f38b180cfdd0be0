//! What all operations of a request share: who asks, the body, and the way to partitions.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use recoil_sdk::{Address, CallError, Mode, RoutedCall, Router};
use s3s::S3ErrorCode;

use super::transfer::Download;
use crate::data::access::{ACCOUNT, Owner};
use crate::data::command::{Answer, Command, Condition, Due, Operation, Reply, decode, encode, refusal};
use crate::data::keys;
use crate::data::policy::Caller;
use crate::data::rows::{Bucket, Id, Place, State};
use crate::fault::{Outcome, denied, fault, internal, other};
use crate::front::payload::Body;

/// How often a call is made that comes to nothing for now.
const ATTEMPTS_MAX: u32 = 8;
/// One in so many requests that write looks after a partition chosen at random.
const HOUSEKEEPING: u8 = 16;
/// Bytes of an object that are kept in rows of its shard.
pub(crate) const INLINE_BYTES_MAX: usize = 64 << 10;

/// The world outside: time, chance, and waiting.
pub(crate) trait Machine {
    /// Microseconds since the Unix epoch.
    fn now_us(&self) -> u64;
    /// Random bytes that nobody can guess.
    fn random(&self) -> [u8; 16];
    fn sleep_ms(&self, ms: u64);
}

/// A request that is being carried out.
pub(crate) struct Session {
    pub(crate) router: Rc<dyn Router>,
    pub(crate) machine: Rc<dyn Machine>,
    /// Anonymous until the request is verified.
    pub(crate) caller: RefCell<Caller>,
    pub(crate) region: String,
    /// What the client sends, until somebody takes it.
    pub(crate) body: RefCell<Option<Body>>,
    /// What follows the head of the answer.
    pub(crate) download: RefCell<Option<Download>>,
    /// Headers that s3s does not write.
    pub(crate) headers: RefCell<Vec<(&'static str, String)>>,
    /// What replies have said is due to be freed, by whom it was said.
    pub(crate) due: RefCell<Vec<(Address, Due)>>,
    pub(crate) wrote: Cell<bool>,
    /// The answer to a HEAD is of a range.
    pub(crate) partial: Cell<bool>,
    /// Whose the bucket is, by the request's header, and whose the bucket of a copy's source.
    pub(crate) expected_owner: RefCell<Option<String>>,
    pub(crate) expected_source_owner: RefCell<Option<String>>,
    /// What must hold of what a copy replaces.
    pub(crate) copy_condition: RefCell<Condition>,
    /// The request is a form.
    pub(crate) form: Cell<bool>,
}

impl Session {
    pub(crate) fn new(router: Rc<dyn Router>, machine: Rc<dyn Machine>, region: String) -> Self {
        Session {
            router,
            machine,
            caller: RefCell::default(),
            region,
            body: RefCell::default(),
            download: RefCell::default(),
            headers: RefCell::default(),
            due: RefCell::default(),
            wrote: Cell::new(false),
            partial: Cell::new(false),
            expected_owner: RefCell::default(),
            expected_source_owner: RefCell::default(),
            copy_condition: RefCell::default(),
            form: Cell::new(false),
        }
    }

    pub(crate) fn caller(&self) -> Caller {
        self.caller.borrow().clone()
    }

    pub(crate) fn id(&self) -> Id {
        self.machine.random()
    }

    pub(crate) fn take_body(&self) -> Outcome<Body> {
        self.body.borrow_mut().take().ok_or_else(|| internal("the body of the request is gone"))
    }

    /// Carries out a command; its answer and what came with it.
    pub(crate) fn call(
        &self,
        to: Address,
        command: &Command,
        attached: &[u8],
        mode: Mode,
    ) -> Outcome<(Answer, Vec<u8>)> {
        let request = encode(command, attached).map_err(|error| internal(error.message()))?;
        self.call_encoded(&RoutedCall { to, request, mode })
    }

    pub(crate) fn call_encoded(&self, call: &RoutedCall) -> Outcome<(Answer, Vec<u8>)> {
        self.answer(call, call_patiently(&*self.router, &*self.machine, call))
    }

    /// Many commands that only read, at once.
    pub(crate) fn read_many(&self, calls: &[RoutedCall]) -> Outcome<Vec<Answer>> {
        let results = self.router.call_many(calls);
        let answers = calls.iter().zip(results).map(|(call, result)| match result {
            // Those that fail are asked again by themselves.
            Err(error) if may_repeat(&error) => self.call_encoded(call),
            result => self.answer(call, result),
        });
        answers.map(|answer| Ok(answer?.0)).collect()
    }

    /// Many commands that write, at once; each succeeds or fails by itself.
    pub(crate) fn write_many(&self, calls: &[RoutedCall]) -> Vec<Outcome<Answer>> {
        let results = self.router.call_many(calls);
        let answers = calls.iter().zip(results).map(|(call, result)| match result {
            Err(error) if may_repeat(&error) => self.call_encoded(call).map(|(answer, _)| answer),
            result => self.answer(call, result).map(|(answer, _)| answer),
        });
        answers.collect()
    }

    /// The call that writes to a key.
    pub(crate) fn key_call(&self, bucket: &Bucket, key: &str, operation: Operation) -> Outcome<RoutedCall> {
        let place = place(bucket, key);
        let command = Command::Key { place, key: key.to_owned(), caller: self.caller(), operation };
        let request = encode(&command, b"").map_err(|error| internal(error.message()))?;
        Ok(RoutedCall::write(&keys::shard_address(&place), request))
    }

    pub(crate) fn answer(&self, call: &RoutedCall, result: Result<Vec<u8>, CallError>) -> Outcome<(Answer, Vec<u8>)> {
        let bytes = result.map_err(translate)?;
        self.wrote.set(self.wrote.get() || call.mode == Mode::Write);
        let (reply, attached) = decode::<Reply>(&bytes).map_err(|error| internal(error.message()))?;
        let attached = attached.to_vec();
        if let Some(due) = reply.due {
            self.due.borrow_mut().push((call.to.clone(), due));
        }
        Ok((reply.answer, attached))
    }

    pub(crate) fn write(&self, to: Vec<u8>, command: &Command) -> Outcome<Answer> {
        Ok(self.call(Address::Key(to), command, b"", Mode::Write)?.0)
    }

    pub(crate) fn read(&self, to: Vec<u8>, command: &Command) -> Outcome<Answer> {
        Ok(self.call(Address::Key(to), command, b"", Mode::Read)?.0)
    }

    /// The bucket that a request is about.
    pub(crate) fn bucket(&self, name: &str) -> Outcome<Bucket> {
        let expected = self.expected_owner.borrow().clone();
        self.owned_bucket(name, expected.as_deref())
    }

    /// The bucket that a copy comes from.
    pub(crate) fn source_bucket(&self, name: &str) -> Outcome<Bucket> {
        let expected = self.expected_source_owner.borrow().clone();
        self.owned_bucket(name, expected.as_deref())
    }

    fn owned_bucket(&self, name: &str, expected: Option<&str>) -> Outcome<Bucket> {
        let bucket = self.find_bucket(name)?;
        let is_owner = |id: &str| id == bucket.owner.id || (id == ACCOUNT && bucket.owner.id == Owner::root().id);
        match expected {
            Some(id) if !is_owner(id) => Err(denied("the bucket has another owner than the request expects")),
            _ => Ok(bucket),
        }
    }

    fn find_bucket(&self, name: &str) -> Outcome<Bucket> {
        let command = Command::Bucket { name: name.to_owned() };
        let missing = || fault(S3ErrorCode::NoSuchBucket, format!("The specified bucket does not exist: {name}"));
        let Answer::Bucket { bucket, .. } = self.read(keys::bucket_address(name), &command)? else {
            return Err(missing());
        };
        match bucket.state {
            State::Opening => Err(missing()),
            State::Open if bucket.unsettled => self.settle(*bucket),
            State::Open | State::Closing => Ok(*bucket),
        }
    }

    /// Passes a bucket's configuration on to all its shards.
    pub(crate) fn settle(&self, mut bucket: Bucket) -> Outcome<Bucket> {
        for shard in 0..bucket.shards {
            let place = Place { bucket: bucket.id, shard };
            let open = Command::Open { place, bucket: Box::new(bucket.clone()) };
            self.write(keys::shard_address(&place), &open)?;
        }
        let settled = Command::Settled { name: bucket.name.clone(), id: bucket.id, epoch: bucket.epoch };
        self.write(keys::bucket_address(&bucket.name), &settled)?;
        bucket.unsettled = false;
        Ok(bucket)
    }

    /// An operation on a key.
    pub(crate) fn key(
        &self,
        bucket: &Bucket,
        key: &str,
        operation: Operation,
        mode: Mode,
    ) -> Outcome<(Answer, Vec<u8>)> {
        self.key_with(bucket, key, operation, b"", mode)
    }

    pub(crate) fn key_with(
        &self,
        bucket: &Bucket,
        key: &str,
        operation: Operation,
        attached: &[u8],
        mode: Mode,
    ) -> Outcome<(Answer, Vec<u8>)> {
        let place = place(bucket, key);
        let command = Command::Key { place, key: key.to_owned(), caller: self.caller(), operation };
        self.call(Address::Key(keys::shard_address(&place)), &command, attached, mode)
    }

    /// Frees what is due. Failing to is no failure of the request: it is due again the next time.
    pub(crate) fn clean(&self) {
        if self.wrote.get() && self.machine.random()[0].is_multiple_of(HOUSEKEEPING) {
            let count = self.router.partitions().len() as u64;
            let seed = self.machine.random();
            let chosen = u64::from_le_bytes([seed[0], seed[1], seed[2], seed[3], 0, 0, 0, 0]) % count.max(1);
            let _ = self.call(Address::Partition(chosen as u32), &Command::Due, b"", Mode::Write);
        }
        // A listed tombstone twice would only be freed twice.
        let due = std::mem::take(&mut *self.due.borrow_mut());
        for (said_by, Due { row, runs, freed, all }) in due.into_iter().take(2) {
            let calls = runs.into_iter().map(|(content, run)| {
                let free = encode(&Command::FreeRun { content, run }, b"");
                free.map(|request| RoutedCall::write(&keys::run_address(&content, run), request))
            });
            let Ok(calls) = calls.collect::<Result<Vec<_>, _>>() else { return };
            if self.router.call_many(&calls).iter().all(Result::is_ok) {
                let _ = self.call(said_by, &Command::Freed { row, freed, all }, b"", Mode::Write);
            }
        }
    }
}

/// Makes a call, and again while that can help.
pub(crate) fn call_patiently(
    router: &dyn Router,
    machine: &dyn Machine,
    call: &RoutedCall,
) -> Result<Vec<u8>, CallError> {
    let mut result = router.call(call);
    let mut attempt = 1;
    while let Err(error) = &result
        && attempt < ATTEMPTS_MAX
        && may_repeat(error)
    {
        machine.sleep_ms(20 << attempt);
        attempt += 1;
        result = router.call(call);
    }
    result
}

/// The shard of a key.
pub(crate) fn place(bucket: &Bucket, key: &str) -> Place {
    Place { bucket: bucket.id, shard: keys::shard_of(key, bucket.shards) }
}

/// Whether making a call again can help. Every command may be sent again.
pub(crate) fn may_repeat(error: &CallError) -> bool {
    matches!(error, CallError::Unavailable(_) | CallError::UnknownOutcome(_) | CallError::Conflict)
}

fn translate(error: CallError) -> s3s::S3Error {
    match error {
        CallError::Rejected(why) => match refusal(&why) {
            Some((code, why)) if code.as_str() == "InvalidPartNumber" => other("InvalidPartNumber", 416, why),
            Some((code, why)) => fault(code, why),
            None => internal(why),
        },
        CallError::Failed(why) => internal(format!("a partition failed: {why}")),
        CallError::Unavailable(why) => fault(
            S3ErrorCode::SlowDown,
            format!("Please reduce your request rate: a partition is not available: {why}"),
        ),
        CallError::UnknownOutcome(why) => internal(format!("it is not known whether this was done: {why}; try again")),
        CallError::Conflict => fault(S3ErrorCode::OperationAborted, "another request changed the same; try again"),
    }
}

/// An answer that does not belong to its command.
pub(crate) fn unexpected(answer: &Answer) -> s3s::S3Error {
    internal(format!("a partition gave an answer that does not fit: {answer:?}"))
}
