//! The records on partitions in memory: what is kept, and what must never be lost.

use recoil_oci::records::{Answer, Command, Content, LINK_WITHIN_US, Link, decode, encode};
use recoil_oci::{Algorithm, Digest, Manifest, Repository};
use recoil_sdk::fake::FakePartition;

use crate::Registry;

struct Records(FakePartition);

fn repository() -> Repository {
    "acme/greeter".parse().unwrap()
}

fn digest(text: &str) -> Digest {
    Algorithm::Sha256.digest(text.as_bytes())
}

impl Records {
    fn new() -> Self {
        Records(FakePartition::new())
    }

    fn ask(&mut self, command: Command) -> Answer {
        self.ask_with(command, b"").0
    }

    fn ask_with(&mut self, command: Command, attachment: &[u8]) -> (Answer, Vec<u8>) {
        let answer = self.0.write::<Registry>(&encode(&command, attachment)).unwrap();
        let (answer, attached) = decode(&answer).unwrap();
        (answer, attached.to_vec())
    }

    fn content(&mut self, command: Command) -> (Content, u64) {
        match self.ask(command) {
            Answer::Content { content, now_us } => (content, now_us),
            other => panic!("{other:?}"),
        }
    }

    /// An uploaded, sealed and linked content.
    fn blob(&mut self, id: &str, text: &str) -> Link {
        self.content(Command::Begin { id: id.into(), repository: repository() });
        let (part, size) = (format!("{id}-p"), text.len() as u64);
        self.content(Command::OpenPart { id: id.into(), part: part.clone(), from: Some(0), reserve: 4 });
        self.content(Command::Advance { id: id.into(), part, bytes: size, reserve: 4 });
        let token = format!("{id}-t");
        let seal = Command::Seal { id: id.into(), size, token: token.clone(), digest: digest(text) };
        let (_, since_us) = self.content(seal);
        let link = Link { digest: digest(text), content: id.into(), token, size, since_us };
        match self.ask(Command::Link { repository: repository(), link }) {
            Answer::Link { link } => link,
            other => panic!("{other:?}"),
        }
    }

    fn put_manifest(&mut self, name: &str, blobs: &[&str], tags: &[&str], subject: Option<&str>) -> Answer {
        let manifest = Manifest {
            media_type: "a/b".into(),
            size: name.len() as u64,
            blobs: blobs.iter().map(|blob| digest(blob)).collect(),
            subject: subject.map(digest),
            artifact_type: Some("c/d".into()),
            annotations: Default::default(),
        };
        let tags = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        let put = Command::PutManifest { repository: repository(), digest: digest(name), tags, manifest };
        self.ask_with(put, name.as_bytes()).0
    }

    fn manifest(&mut self, reference: &str) -> Option<Vec<u8>> {
        let reference = reference.parse().unwrap();
        let (answer, body) = self.ask_with(Command::Manifest { repository: repository(), reference, body: true }, b"");
        matches!(answer, Answer::Manifest { .. }).then_some(body)
    }

    fn tags(&mut self, after: &str, limit: u32) -> (Vec<String>, bool) {
        match self.ask(Command::Tags { repository: repository(), after: after.into(), limit }) {
            Answer::Tags { tags, more } => (tags, more),
            other => panic!("{other:?}"),
        }
    }

    fn sweep(&mut self) -> Vec<Link> {
        match self.ask(Command::Sweep { repository: repository(), before_us: u64::MAX, after: String::new() }) {
            Answer::Links { links, .. } => links,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_part_that_was_overtaken_writes_no_more() {
    let mut records = Records::new();
    let id = || "c".to_owned();
    records.content(Command::Begin { id: id(), repository: repository() });
    let open = |part: &str, from| Command::OpenPart { id: "c".into(), part: part.into(), from: Some(from), reserve: 8 };
    let advance = |part: &str, bytes| Command::Advance { id: "c".into(), part: part.into(), bytes, reserve: 16 };
    records.content(open("one", 0));
    records.content(advance("one", 5));
    assert!(matches!(records.ask(open("two", 3)), Answer::WrongOffset { content } if content.received() == 5));
    let (content, _) = records.content(open("two", 5));
    assert_eq!(content.received(), 5);
    assert!(matches!(records.ask(advance("one", 9)), Answer::WrongOffset { .. }), "it was fenced off");
    let (content, _) = records.content(advance("two", 2));
    assert_eq!((content.received(), content.parts[0].reserved, content.parts[1].reserved), (7, 16, 16));
    let (repeated, _) = records.content(advance("two", 2));
    assert_eq!(repeated.received(), 7, "a retry changes nothing");

    let seal = |size, token: &str| Command::Seal { id: "c".into(), size, token: token.into(), digest: digest("x") };
    assert!(matches!(records.ask(seal(8, "t")), Answer::WrongOffset { .. }));
    let (sealed, since) = records.content(seal(7, "t"));
    let (again, _) = records.content(seal(7, "t"));
    assert_eq!((sealed.holds.len(), &again.holds), (1, &sealed.holds), "since {since}");
    assert_eq!(records.ask(seal(7, "other")), Answer::Absent);
    assert_eq!(records.ask(open("three", 7)), Answer::Absent);
    assert_eq!(records.ask(advance("two", 3)), Answer::Absent);
    let (kept, _) = records.content(Command::Discard { id: id(), untouched_since_us: u64::MAX });
    assert_eq!(kept.going, None, "what is held is not discarded");
}

#[test]
fn a_content_goes_when_nobody_holds_it_and_is_then_held_no_more() {
    let mut records = Records::new();
    records.blob("c", "text");
    let hold = |token: &str| Command::Hold {
        id: "c".into(),
        token: token.into(),
        repository: "acme/other".parse().unwrap(),
        digest: digest("text"),
    };
    records.content(hold("second"));
    let release = |token: &str| Command::Release { id: "c".into(), token: token.into() };
    assert_eq!(records.content(release("c-t")).0.going, None, "another holds it");
    assert_eq!(records.content(release("c-t")).0.going, None, "ending a hold twice ends no other");
    assert_eq!(records.ask(Command::Forget { id: "c".into() }), Answer::Done);
    assert_eq!(records.content(Command::Content { id: "c".into() }).0.holds.len(), 1, "what is held is not forgotten");
    assert!(records.content(release("second")).0.going.is_some());
    assert_eq!(records.ask(hold("third")), Answer::Absent);
    records.ask(Command::Forget { id: "c".into() });
    assert!(records.content(Command::Content { id: "c".into() }).0.going.is_some(), "a late request may yet write");
    records.0.advance_quietly(LINK_WITHIN_US + 1_000_000);
    records.ask(Command::Forget { id: "c".into() });
    assert_eq!(records.ask(Command::Content { id: "c".into() }), Answer::Absent);
}

#[test]
fn an_upload_is_discarded_unless_it_was_touched_since() {
    let mut records = Records::new();
    let (_, then) = records.content(Command::Begin { id: "c".into(), repository: repository() });
    records.0.advance_quietly(1_000_000);
    records.content(Command::OpenPart { id: "c".into(), part: "p".into(), from: None, reserve: 1 });
    let discard = |untouched_since_us| Command::Discard { id: "c".into(), untouched_since_us };
    assert_eq!(records.content(discard(then)).0.going, None);
    assert!(records.content(discard(then + 2_000_000)).0.going.is_some());
    assert_eq!(
        records.ask(Command::OpenPart { id: "c".into(), part: "q".into(), from: None, reserve: 1 }),
        Answer::Absent
    );
}

#[test]
fn a_link_stands_until_it_is_ended_and_an_old_hold_makes_none() {
    let mut records = Records::new();
    let first = records.blob("c", "text");
    let second = Link { content: "d".into(), token: "other".into(), ..first.clone() };
    let put = |link: Link| Command::Link { repository: repository(), link };
    let link = |answer: Answer| match answer {
        Answer::Link { link } => link,
        other => panic!("{other:?}"),
    };
    records.0.advance_quietly(1_000_000);
    let again = link(records.ask(put(second.clone())));
    assert_eq!((&again.content, &again.token), (&first.content, &first.token), "the first stays");
    assert!(again.since_us > first.since_us, "and is as young as what was pushed now");
    let find = || Command::Find { repository: repository(), digest: digest("text") };
    assert_eq!(link(records.ask(find())), again);
    let unlink = |token: Option<&str>| Command::Unlink {
        repository: repository(),
        digest: digest("text"),
        token: token.map(str::to_owned),
    };
    assert_eq!(records.ask(unlink(Some("other"))), Answer::Absent, "that is another link");
    assert_eq!(link(records.ask(unlink(None))), again);
    assert_eq!(records.ask(find()), Answer::Absent);
    assert_eq!(records.ask(put(first)), Answer::Stale, "its hold has ended with it");
    let third = Link { token: "third".into(), ..second.clone() };
    assert_eq!(link(records.ask(put(third.clone()))), third);
    records.ask(unlink(Some("third")));
    records.0.advance_quietly(LINK_WITHIN_US + 1_000_000);
    assert_eq!(records.ask(put(second)), Answer::Stale);
    assert_eq!(records.ask(find()), Answer::Absent);
}

#[test]
fn manifests_keep_their_blobs_and_tags_point_to_them() {
    let mut records = Records::new();
    assert_eq!(records.ask(Command::Tags { repository: repository(), after: "".into(), limit: 9 }), Answer::Absent);
    records.blob("c", "layer");
    assert_eq!(
        records.put_manifest("m", &["layer", "absent"], &[], None),
        Answer::Missing { digest: digest("absent") }
    );
    assert_eq!(records.manifest(digest("m").as_str()), None, "nothing of it was kept");
    assert_eq!(records.put_manifest("m", &["layer"], &["1.0.0", "latest", "b"], None), Answer::Done);
    assert_eq!(records.put_manifest("n", &["layer"], &["latest"], None), Answer::Done);
    assert_eq!(records.manifest("1.0.0"), Some(b"m".to_vec()));
    assert_eq!(records.manifest("latest"), Some(b"n".to_vec()));
    assert_eq!(records.tags("", 2), (vec!["1.0.0".into(), "b".into()], true));
    assert_eq!(records.tags("b", 2), (vec!["latest".into()], false));
    assert_eq!(records.tags("", 0), (vec![], true));

    records.0.advance_quietly(1_000_000);
    assert_eq!(records.sweep(), [], "both manifests need the layer");
    let remove =
        |reference: &str| Command::RemoveManifest { repository: repository(), reference: reference.parse().unwrap() };
    assert_eq!(records.ask(remove("b")), Answer::Done);
    assert_eq!(records.ask(remove("b")), Answer::Absent);
    assert!(records.manifest(digest("m").as_str()).is_some(), "only the tag went");
    assert_eq!(records.ask(remove(digest("m").as_str())), Answer::Done);
    assert_eq!(records.tags("", 9), (vec!["latest".into()], false), "its tags went with it");
    assert_eq!(records.sweep(), []);
    assert_eq!(records.ask(remove(digest("n").as_str())), Answer::Done);
    assert_eq!(records.sweep().len(), 1);
    assert_eq!(records.ask(Command::Find { repository: repository(), digest: digest("layer") }), Answer::Absent);
    records.0.advance_quietly(2 * LINK_WITHIN_US + 1_000_000);
    assert_eq!(records.sweep(), []);
    let rows: Vec<u8> = records.0.rows().keys().map(|key| key[0]).collect();
    assert_eq!(rows, *b"CR", "nothing is left but the content, which its holder releases, and the repository");
}

#[test]
fn referrers_are_listed_while_they_are_there() {
    let mut records = Records::new();
    records.put_manifest("about", &[], &[], Some("subject"));
    let referrers = |records: &mut Records| match records
        .ask(Command::Referrers { repository: repository(), subject: digest("subject") })
    {
        Answer::Referrers { descriptors } => descriptors,
        other => panic!("{other:?}"),
    };
    let found = referrers(&mut records);
    assert_eq!((found.len(), &found[0].digest), (1, &digest("about")));
    let reference = digest("about").as_str().parse().unwrap();
    records.ask(Command::RemoveManifest { repository: repository(), reference });
    assert_eq!(referrers(&mut records), []);
    let names = match records.ask(Command::Repositories { after: String::new() }) {
        Answer::Repositories { names } => names,
        other => panic!("{other:?}"),
    };
    assert_eq!(names, ["acme/greeter"]);
    assert_eq!(
        records.ask(Command::Repositories { after: "acme/greeter".into() }),
        Answer::Repositories { names: vec![] }
    );
}
