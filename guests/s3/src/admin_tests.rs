use std::cell::Cell;

use recoil_sdk::fake::{FakeCluster, set_setting};

use super::*;
use crate::S3;

struct Clock(Cell<u64>);

impl Machine for Clock {
    fn now_us(&self) -> u64 {
        1
    }
    fn random(&self) -> [u8; 16] {
        self.0.set(self.0.get() + 1);
        u128::from(self.0.get()).to_le_bytes()
    }
    fn sleep_ms(&self, _ms: u64) {}
}

struct Store(FakeCluster, Clock);

impl Store {
    fn new() -> Self {
        Store(FakeCluster::new::<S3>(5, 3), Clock(Cell::new(0)))
    }

    /// Words are separated by spaces.
    fn run(&self, line: &str) -> Result<String, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        run_on(&self.0, &self.1, &words)
    }
}

fn line<'a>(text: &'a str, what: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(what)).map(str::trim)
}

#[test]
fn a_key_is_made_listed_switched_and_deleted() {
    let store = Store::new();
    assert!(store.run("key list").unwrap().contains("no keys"));
    let made = store.run("key create alice --bucket photos --bucket films --read-only").unwrap();
    let access = line(&made, "access key").unwrap().to_owned();
    let secret = line(&made, "secret key").unwrap().to_owned();
    assert_eq!((access.len(), secret.len(), line(&made, "canonical id").unwrap().len()), (20, 40, 64));
    assert_eq!((line(&made, "display name"), line(&made, "may")), (Some("alice"), Some("read films, photos")));
    assert!(store.run("key create alice").unwrap_err().contains("already"));
    let shown = store.run("key show alice").unwrap();
    assert!(shown.contains(&access) && !shown.contains(&secret) && line(&shown, "state") == Some("enabled"));
    let other = store.run("key create bob").unwrap();
    assert!(line(&other, "secret key") != Some(&secret) && line(&other, "access key") != Some(&access));
    let listed = store.run("key list").unwrap();
    let names: Vec<&str> = listed.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["alice", "bob"]);
    assert!(!listed.contains(&secret));
    store.run("key disable alice").unwrap();
    assert_eq!(line(&store.run("key show alice").unwrap(), "state"), Some("disabled"));
    store.run("key enable alice").unwrap();
    assert_eq!(line(&store.run("key show alice").unwrap(), "state"), Some("enabled"));
    store.run("key delete alice").unwrap();
    assert!(store.run("key show alice").unwrap_err().contains("no key 'alice'"));
    store.run("key create alice").unwrap();
}

#[test]
fn a_key_is_what_it_is_told_to_be() {
    let store = Store::new();
    let fixed = "key create tenant --access-key=HIJKLMNOPQRSTUVWXYZA --secret-key opqrstuvwxyzabcdefgh \
        --canonical-id testx$9876 --display-name testx$user --email tenant@example.com";
    let made = store.run(fixed).unwrap();
    for (what, expected) in [
        ("access key", "HIJKLMNOPQRSTUVWXYZA"),
        ("secret key", "opqrstuvwxyzabcdefgh"),
        ("canonical id", "testx$9876"),
        ("display name", "testx$user"),
        ("e-mail", "tenant@example.com"),
        ("may", "read and write its user's buckets"),
    ] {
        assert_eq!(line(&made, what), Some(expected));
    }
    // The same user may have another key, and nobody else may have what is this user's.
    store.run("key create second --canonical-id testx$9876 --email tenant@example.com").unwrap();
    let taken = |line: &str| store.run(line).unwrap_err();
    assert!(taken("key create third --email tenant@example.com").contains("e-mail address is that of"));
    assert!(taken("key create third --access-key HIJKLMNOPQRSTUVWXYZA").contains("access key is that of"));
    assert!(store.run("key show third").is_err(), "what is refused leaves nothing");
    set_setting("root-access-key", "root-key");
    set_setting("root-secret-key", "root-secret-key");
    assert!(taken("key create third --access-key root-key").contains("root key"));
    assert!(taken(&format!("key create third --canonical-id {}", Owner::root().id)).contains("root key"));
}

/// Fails if words that are not understood are ignored.
#[test]
fn commands_that_are_not_understood_say_why() {
    let store = Store::new();
    for (line, why) in [
        ("", "no command"),
        ("bucket list", "none of the commands"),
        ("key", "none of the commands"),
        ("key show", "none of the commands"),
        ("key list all", "none of the commands"),
        ("key create", "needs a name"),
        ("key create a b", "takes one name"),
        ("key create a --bucket", "has no value"),
        ("key create a --bucket B", "no bucket can have the name"),
        ("key create a --write-only", "no option --write-only"),
        ("key create a --read-only=no", "no option --read-only=no"),
        ("key create a --access-key ab", "fewer than 3"),
        ("key create a --access-key abc --access-key abd", "more than once"),
        ("key create a --secret-key short", "5 characters"),
        ("key create a,b", "other characters"),
        ("key create a --canonical-id <b>", "other characters"),
        ("key create a --email nobody", "has no @"),
        ("key delete a", "no key 'a'"),
        ("key disable a", "no key 'a'"),
    ] {
        let error = store.run(line).unwrap_err();
        assert!(error.contains(why), "{line}: {error}");
    }
    assert_eq!(commands().len(), 6);
    let help = store.run("").unwrap_err();
    for command in commands() {
        assert!(help.contains(&format!("{} {}", command.words.join(" "), command.usage)) && !command.help.is_empty());
    }
}

/// What a command that broke off leaves can be finished or removed.
#[test]
fn a_key_that_was_half_made_can_be_deleted() {
    let store = Store::new();
    let address = keys::access_key_address("ABCD");
    let id = store.0.locate(&address).id;
    store.0.fail_partition(id, Some(recoil_sdk::CallError::Unavailable("down".into())));
    let failed = store.run("key create alice --access-key ABCD");
    store.0.fail_partition(id, None);
    assert!(failed.unwrap_err().contains("try again"));
    if store.run("key show alice").is_ok() {
        assert!(store.run("key disable alice").unwrap_err().contains("not finished"));
        store.run("key delete alice").unwrap();
    }
    store.run("key create alice --access-key ABCD").unwrap();
    store.run("key disable alice").unwrap();
}
