//! Commands on a partition in memory: what may be sent again, and what must not be true twice.

use recoil_sdk::fake::FakePartition;

use crate::S3;
use crate::data::command::{
    Answer, Bytes, Command, Condition, NewVersion, Operation, Reply, VersionName, decode, encode, refusal,
};
use crate::data::policy::Caller;
use crate::data::rows::{Bucket, Configuration, Id, Place, State, Versioning};

const PLACE: Place = Place { bucket: [1; 16], shard: 0 };

struct Shard(FakePartition);

impl Shard {
    fn new(versioning: Versioning) -> Self {
        let mut shard = Shard(FakePartition::new());
        let configuration = Configuration { versioning, ..Default::default() };
        let bucket = Bucket {
            id: PLACE.bucket,
            name: "bucket".into(),
            owner: crate::data::access::Owner::root(),
            region: "us-east-1".into(),
            created_us: 0,
            shards: 1,
            state: State::Opening,
            epoch: 1,
            unsettled: false,
            configuration,
        };
        shard.ask(&Command::Open { place: PLACE, bucket: Box::new(bucket) }, b"").unwrap();
        shard
    }

    fn ask(&mut self, command: &Command, attached: &[u8]) -> Result<Answer, String> {
        let answer = self.0.write::<S3>(&encode(command, attached).unwrap());
        let answer = answer.map_err(|error| {
            refusal(error.message()).map_or_else(|| error.message().to_owned(), |(code, _)| code.as_str().to_owned())
        })?;
        Ok(decode::<Reply>(&answer).unwrap().0.answer)
    }

    fn key(&mut self, operation: Operation, attached: &[u8]) -> Result<Answer, String> {
        let caller = Caller::root();
        self.ask(&Command::Key { place: PLACE, key: "key".into(), caller, operation }, attached)
    }

    fn put(&mut self, id: Id, condition: Condition) -> Result<Answer, String> {
        let new = NewVersion {
            id,
            size: 4,
            md5: [id[0]; 16],
            attributes: Default::default(),
            checksum: None,
            bytes: Bytes::Attached,
            condition,
        };
        self.key(Operation::Put(Box::new(new)), b"text")
    }

    fn rows(&self, kind: u8) -> usize {
        self.0.rows().keys().filter(|key| key[0] == kind).count()
    }
}

/// A commit whose answer was lost is the same commit when it comes again, whatever it depends on.
#[test]
fn a_repeated_commit_is_one() {
    let mut shard = Shard::new(Versioning::Enabled);
    let absent = Condition { none_matches: Some("*".into()), ..Default::default() };
    let first = shard.put([1; 16], absent.clone()).unwrap();
    assert_eq!(shard.put([1; 16], absent.clone()).unwrap(), first);
    assert_eq!(shard.put([2; 16], absent), Err("PreconditionFailed".into()), "another one is not the same");
    shard.put([3; 16], Condition::default()).unwrap();
    assert_eq!(shard.put([1; 16], Condition::default()).unwrap(), first, "nor does it become current again");
    assert_eq!((shard.rows(b'O'), shard.rows(b'V')), (1, 1));
    let delete = Operation::Delete { version: None, marker: [9; 16], condition: Condition::default(), bypass: false };
    let deleted = shard.key(delete.clone(), b"").unwrap();
    assert_eq!(shard.key(delete, b"").unwrap(), deleted, "one delete, one marker");
    assert_eq!((shard.rows(b'O'), shard.rows(b'V')), (0, 3));
}

#[test]
fn bytes_are_referred_to_once_and_only_while_they_are_promised() {
    let mut shard = Shard::new(Versioning::Off);
    let content = [7; 16];
    let begin = Operation::Begin { content, reserved: 1 << 20, upload: None, condition: Condition::default() };
    shard.key(begin.clone(), b"").unwrap();
    let new = |id: Id, size| {
        let bytes = Bytes::Content(content);
        Operation::Put(Box::new(NewVersion {
            id,
            size,
            md5: [0; 16],
            attributes: Default::default(),
            checksum: None,
            bytes,
            condition: Condition::default(),
        }))
    };
    assert!(shard.key(new([1; 16], (1 << 20) + 1), b"").is_err(), "more than was promised");
    shard.key(new([1; 16], 1 << 20), b"").unwrap();
    assert_eq!(shard.key(new([2; 16], 1 << 20), b""), Err("RequestTimeout".into()));
    // One that nobody touches is given up, and its commit comes too late.
    shard.key(begin, b"").unwrap();
    shard.0.advance::<S3>(2 * 3600 * 1_000_000);
    assert_eq!((shard.rows(b'P'), shard.rows(b'T')), (0, 1));
    assert_eq!(shard.key(new([3; 16], 1 << 20), b""), Err("RequestTimeout".into()));
}

#[test]
fn a_closed_shard_takes_nothing() {
    let mut shard = Shard::new(Versioning::Off);
    shard.put([1; 16], Condition::default()).unwrap();
    assert_eq!(
        shard.ask(&Command::Close { place: PLACE }, b"").unwrap(),
        Answer::Closed { closed: false, again: false }
    );
    let version = Some(VersionName::Null);
    shard
        .key(Operation::Delete { version, marker: [9; 16], condition: Condition::default(), bypass: false }, b"")
        .unwrap();
    assert_eq!(shard.ask(&Command::Drop { place: PLACE }, b""), Err("OperationAborted".into()), "it was not closed");
    assert_eq!(
        shard.ask(&Command::Close { place: PLACE }, b"").unwrap(),
        Answer::Closed { closed: true, again: false }
    );
    assert_eq!(shard.put([2; 16], Condition::default()), Err("OperationAborted".into()));
    shard.ask(&Command::Reopen { place: PLACE }, b"").unwrap();
    shard.put([3; 16], Condition::default()).unwrap();
}
