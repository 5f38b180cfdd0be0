//! Commands that wait.

use super::*;

/// What a waiting connection's next look at the world brings.
pub(super) enum Act<'a> {
    /// Something happens elsewhere. If that sends no message, the wait goes on for its whole time.
    Elsewhere(Box<dyn FnOnce() + 'a>),
    /// The client sends something.
    Input(&'static str),
}

/// A connection that sends a command and waits, while others do something.
struct Waiter<'a> {
    acts: VecDeque<Act<'a>>,
    output: Vec<u8>,
    waits: usize,
}

impl Connection for Waiter<'_> {
    fn peer_address(&self) -> String {
        "127.0.0.1:50312".to_owned()
    }
    fn read(&mut self, _limit: u32) -> Result<Vec<u8>, ConnectionError> {
        match self.acts.pop_front() {
            Some(Act::Input(input)) => Ok(input.as_bytes().to_vec()),
            Some(other) => {
                self.acts.push_front(other);
                Ok(Vec::new())
            }
            None => Ok(Vec::new()),
        }
    }
    fn write(&mut self, data: &[u8]) -> Result<(), ConnectionError> {
        self.output.extend_from_slice(data);
        Ok(())
    }
    fn wait_any(&mut self, subscriptions: &[&Subscription], timeout_ms: u32) -> Option<Event> {
        self.waits += 1;
        assert!(self.waits < 1000 && timeout_ms <= 60_000);
        if matches!(self.acts.front(), Some(Act::Elsewhere(_)))
            && let Some(Act::Elsewhere(act)) = self.acts.pop_front()
        {
            act();
            let event = recoil_sdk::fake::FakeConnection::default().wait_any(subscriptions, 0);
            return event.filter(|event| matches!(event, Event::Message(_)));
        }
        Some(Event::Readable)
    }
}

/// Serve a connection that begins with `command`; answers what it was sent, and how often it waited.
pub(super) fn wait(router: &dyn Router, command: &'static str, acts: Vec<Act<'_>>) -> (String, usize) {
    let acts = std::iter::once(Act::Input(command)).chain(acts).collect();
    let mut connection = Waiter { acts, output: Vec::new(), waits: 0 };
    Redis::serve(&mut connection, router).expect("a session ends without an error");
    (text(&connection.output), connection.waits)
}

pub(super) fn elsewhere<'a>(act: impl FnOnce() + 'a) -> Act<'a> {
    Act::Elsewhere(Box::new(act))
}

/// Rows of waiters, of mailboxes and of waiting connections, and their timers.
pub(super) fn registered(cluster: &FakeCluster) -> [usize; 4] {
    let mut counts = [0; 4];
    for id in 0..13 {
        cluster.with_partition(id, |partition| {
            for key in partition.rows().keys() {
                if (8..=10).contains(&key[0]) {
                    counts[usize::from(key[0]) - 8] += 1;
                }
            }
            counts[3] += partition.timers().keys().filter(|id| id[0] == b'w').count();
        });
    }
    counts
}

#[test]
fn what_is_there_is_answered_at_once() {
    let cluster = cluster();
    check(
        &cluster,
        r#"
        RPUSH l a b c d e           => :5
        BLPOP l 0                   => *2 $1 l $1 a
        BRPOP l 1.5                 => *2 $1 l $1 e
        BLMPOP 0 1 l LEFT COUNT 2   => *2 $1 l *2 $1 b $1 c
        BLMOVE l {l}2 LEFT RIGHT 0  => $1 d
        BRPOPLPUSH {l}2 l 0         => $1 d
        ZADD z 1 a 2 b 3 c 4 d      => :4
        BZPOPMIN z 0                => *3 $1 z $1 a $1 1
        BZPOPMAX z 0                => *3 $1 z $1 d $1 4
        BZMPOP 0 1 z MAX COUNT 9    => *2 $1 z *2 *2 $1 c $1 3 *2 $1 b $1 2
        BLPOP l x                   => -ERR timeout is not a float or out of range
        BLPOP l -1                  => -ERR timeout is negative
        BLPOP l                     => -ERR wrong number of arguments for 'blpop' command
        BLMOVE l {l}2 LEFT UP 0     => -ERR syntax error
        BLMOVE l m LEFT LEFT 0      => -CROSSSLOT Keys in request don't hash to the same slot: name the keys of BLMOVE with one hash tag, as in {user1}:a and {user1}:b
        BLMPOP 0 0 l LEFT           => -ERR numkeys should be greater than 0
        BLMPOP 0 3 l LEFT           => -ERR syntax error
        SET s v                     => +OK
        BLPOP s 0                   => -WRONGTYPE Operation against a key holding the wrong kind of value
        BZPOPMIN s 0                => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
    assert_eq!(registered(&cluster), [0; 4]);
    assert_eq!(
        run(&cluster, "MULTI\nBLPOP none 0\nRPUSH none x\nBLPOP none 0\nBZPOPMIN none 0\nEXEC"),
        "+OK +QUEUED +QUEUED +QUEUED +QUEUED *4 *-1 :1 *2 $4 none $1 x *-1"
    );
    assert_eq!(run3(&cluster, "ZADD z 1.5 a\nBZPOPMIN z 0"), ":1 *3 $1 z $1 a ,1.5");
}

#[test]
/// Fails if a command that waits is not told of what comes, or anything is left of it.
fn a_waiting_command_is_served_by_the_write_that_brings_something() {
    for (command, write, reply) in [
        ("BLPOP q 0\r\n", "RPUSH q a b", "*2 $1 q $1 a"),
        ("BRPOP q 0\r\n", "RPUSH q a b", "*2 $1 q $1 b"),
        ("BLPOP other q third 0\r\n", "RPUSH q a", "*2 $1 q $1 a"),
        ("BLMPOP 0 1 q RIGHT COUNT 5\r\n", "RPUSH q a b", "*2 $1 q *2 $1 b $1 a"),
        ("BLMOVE q {q}2 LEFT LEFT 0\r\n", "LPUSH q a", "$1 a"),
        ("BRPOPLPUSH q q 0\r\n", "LPUSH q a", "$1 a"),
        ("BZPOPMIN q 0\r\n", "ZADD q 2 b 1 a", "*3 $1 q $1 a $1 1"),
        ("BZPOPMAX q 0\r\n", "ZADD q 2 b 1 a", "*3 $1 q $1 b $1 2"),
        ("BZMPOP 0 1 q MIN\r\n", "ZADD q 2 b", "*2 $1 q *1 *2 $1 b $1 2"),
        ("BLPOP q 0\r\n", "MULTI\nRPUSH q a\nRPUSH q b\nLPUSH q c\nEXEC", "*2 $1 q $1 c"),
        ("BLPOP q 0\r\n", "RPUSH {q}x a\nRENAME {q}x q", "*2 $1 q $1 a"),
        ("BLPOP q 0\r\n", "RPUSH {q}x a\nCOPY {q}x q", "*2 $1 q $1 a"),
        ("BZPOPMIN q 0\r\n", "ZADD {q}x 1 a\nZUNIONSTORE q 1 {q}x", "*3 $1 q $1 a $1 1"),
        ("BLPOP q 0\r\n", "SET q v\nDEL q\nRPUSH q a", "*2 $1 q $1 a"),
    ] {
        let cluster = cluster();
        let act = elsewhere(|| {
            assert!(registered(&cluster)[0] > 0);
            run(&cluster, write);
        });
        let (output, waits) = wait(&cluster, command, vec![act, Act::Input("PING\r\n")]);
        assert_eq!(output, format!("{reply} +PONG"), "{command}");
        assert_eq!(waits, 1, "{command}: a message ends the wait");
        assert_eq!(registered(&cluster), [0; 4], "{command}");
    }
}

#[test]
fn nothing_comes_in_time() {
    let cluster = cluster();
    let quiet = || elsewhere(|| drop(run(&cluster, "SET other v")));
    let (output, waits) = wait(&cluster, "BLPOP a b 2.5\r\n", vec![quiet(), quiet(), quiet(), Act::Input("PING\r\n")]);
    assert_eq!((output.as_str(), waits), ("*-1 +PONG", 3));
    assert_eq!(registered(&cluster), [0; 4]);
    let (output, _) = wait(&cluster, "BLMOVE a {a}b LEFT LEFT 0.1\r\n", vec![quiet(), Act::Input("PING\r\n")]);
    assert_eq!(output, "$-1 +PONG");
    // A client that goes leaves nothing behind, and what comes afterwards stays.
    let (_, waits) = wait(&cluster, "BLPOP a 0\r\n", vec![quiet()]);
    assert_eq!((waits, registered(&cluster)), (2, [0; 4]));
    assert_eq!(run(&cluster, "RPUSH a x\nLLEN a"), ":1 :1");
}

#[test]
/// Fails if what was sent while a command waited is lost or overtakes it.
fn commands_sent_meanwhile_come_after() {
    let cluster = cluster();
    let acts = vec![
        Act::Input("SET x 1\r\nGE"),
        Act::Input("T x\r\n"),
        elsewhere(|| {
            assert_eq!(run(&cluster, "EXISTS x"), ":0");
            run(&cluster, "RPUSH q a");
        }),
        Act::Input("PING\r\n"),
    ];
    assert_eq!(wait(&cluster, "BLPOP q 0\r\n", acts).0, "*2 $1 q $1 a +OK $1 1 +PONG");
}

#[test]
/// Fails if waiters are not served in the order in which they came, or one element serves two.
fn first_come_first_served() {
    let cluster = cluster();
    // The second waits within the first, and so does not see its own end before the first has.
    let (first, _) = wait(
        &cluster,
        "BLPOP q 0\r\n",
        vec![elsewhere(|| {
            let act = elsewhere(|| drop(run(&cluster, "RPUSH q one")));
            let later = elsewhere(|| drop(run(&cluster, "RPUSH q two three")));
            let (second, waits) = wait(&cluster, "BLPOP q 0\r\n", vec![act, later]);
            assert_eq!((second.as_str(), waits), ("*2 $1 q $3 two", 2));
        })],
    );
    assert_eq!(first, "*2 $1 q $3 one");
    assert_eq!(run(&cluster, "LRANGE q 0 -1"), "*1 $5 three");
    assert_eq!(registered(&cluster), [0; 4]);
}

#[test]
/// Fails if a served move does not serve those who wait for its target.
fn moves_serve_along_a_chain() {
    let cluster = cluster();
    let (first, _) = wait(
        &cluster,
        "BLMOVE {t}1 {t}2 LEFT LEFT 0\r\n",
        vec![elsewhere(|| {
            let (second, _) = wait(
                &cluster,
                "BLMOVE {t}2 {t}3 LEFT LEFT 0\r\n",
                vec![elsewhere(|| {
                    let act = elsewhere(|| drop(run(&cluster, "RPUSH {t}0 x\nRPOPLPUSH {t}0 {t}1")));
                    assert_eq!(wait(&cluster, "BRPOP {t}3 0\r\n", vec![act]).0, "*2 $4 {t}3 $1 x");
                })],
            );
            assert_eq!(second, "$1 x");
        })],
    );
    assert_eq!(first, "$1 x");
    assert_eq!(run(&cluster, "EXISTS {t}1 {t}2 {t}3"), ":0");
    assert_eq!(registered(&cluster), [0; 4]);
}

#[test]
/// Fails if what two partitions have for one command at the same time is lost or answered twice.
fn of_two_partitions_that_serve_one_is_answered_and_the_other_keeps_its_own() {
    let cluster = cluster();
    assert_ne!(cluster.owner(b"a"), cluster.owner(b"b"));
    let act = elsewhere(|| drop(run(&cluster, "RPUSH b 1 2\nRPUSH a 3 4")));
    assert_eq!(wait(&cluster, "BLPOP a b 0\r\n", vec![act]).0, "*2 $1 a $1 3");
    assert_eq!(run(&cluster, "LRANGE a 0 -1\nLRANGE b 0 -1"), "*1 $1 4 *2 $1 1 $1 2");
    let act = elsewhere(|| drop(run(&cluster, "ZADD b 1 x 2 y\nZADD a 3 z")));
    assert_eq!(wait(&cluster, "DEL a b\r\nBZPOPMAX a b 0\r\n", vec![act]).0, ":2 *3 $1 a $1 z $1 3");
    assert_eq!(run(&cluster, "ZRANGE b 0 -1 WITHSCORES"), "*4 $1 x $1 1 $1 y $1 2");
    assert_eq!(registered(&cluster), [0; 4]);
}

/// A request as a listener would send it, whose connection never comes back.
fn register(cluster: &FakeCluster, key: &[u8], connection: u64) -> Vec<u8> {
    use crate::request::{self, Op, Style, push_number};
    let mut request = request::begin(Op::Block, Style::INTERNAL, false, 0);
    push_number(&mut request, connection);
    push_number(&mut request, 1);
    let mut take = Vec::new();
    crate::blocking::Take::One { left: true }.encode(&mut take);
    recoil_sdk::encoding::push_bytes(&mut request, &take);
    recoil_sdk::encoding::push_bytes(&mut request, key);
    cluster.call(&recoil_sdk::RoutedCall::write(key, request)).unwrap()
}

#[test]
/// Fails if the element of a connection that is lost with its node is lost, too, or waits for ever.
fn what_a_lost_connection_got_goes_back_when_its_lease_ends() {
    let cluster = cluster();
    assert_eq!(register(&cluster, b"q", 7), [crate::blocking::WAIT]);
    assert_eq!(run(&cluster, "RPUSH q a b c\nLRANGE q 0 -1"), ":3 *2 $1 b $1 c");
    assert_eq!(registered(&cluster), [0, 1, 0, 1]);
    cluster.advance::<Redis>(9_000_000);
    assert_eq!(run(&cluster, "LLEN q"), ":2");
    cluster.advance::<Redis>(2_000_000);
    assert_eq!(run(&cluster, "LRANGE q 0 -1"), "*3 $1 a $1 b $1 c");
    assert_eq!(registered(&cluster), [0; 4]);
    // A registration that nobody renews ends, and takes nothing any more.
    run(&cluster, "DEL q");
    register(&cluster, b"q", 8);
    register(&cluster, b"q", 9);
    for _ in 0..5 {
        cluster.advance::<Redis>(4_000_000);
        assert_eq!(register(&cluster, b"q", 9), [crate::blocking::WAIT]);
    }
    assert_eq!(registered(&cluster), [1, 0, 1, 1]);
    run(&cluster, "RPUSH q x");
    assert_eq!(text(&register(&cluster, b"q", 9)), "*2 $1 q $1 x");
    assert_eq!(registered(&cluster), [0; 4]);
    // One that is late, so that no timer has fired yet, gets nothing either.
    register(&cluster, b"q", 10);
    cluster.with_partition(cluster.owner(b"q"), |partition| partition.advance_quietly(11_000_000));
    assert_eq!(run(&cluster, "RPUSH q y\nLLEN q"), ":1 :1");
}

#[test]
/// Fails if a value that no mailbox takes keeps the write from being done, or its waiter from getting it.
fn large_values_are_fetched() {
    let cluster = cluster();
    let value = vec![b'v'; 6 << 20];
    let act = elsewhere(|| drop(send(&cluster, &encode(&[b"RPUSH", b"q", &value]))));
    let (output, waits) = wait(&cluster, "BLPOP q 0\r\n", vec![act]);
    assert_eq!((output.len(), waits), (value.len() + "*2 $1 q $6291456 ".len(), 1));
    assert_eq!(run(&cluster, "EXISTS q"), ":0");
    assert_eq!(registered(&cluster), [0; 4]);
}

#[test]
fn a_partition_without_a_leader_does_not_end_a_command_that_waits() {
    let cluster = cluster();
    let owner = cluster.owner(b"q");
    let fail = || cluster.fail_partition(owner, Some(recoil_sdk::CallError::Unavailable("no quorum".to_owned())));
    let acts = vec![
        elsewhere(fail),
        elsewhere(|| cluster.fail_partition(owner, None)),
        elsewhere(|| drop(run(&cluster, "RPUSH q a"))),
    ];
    assert_eq!(wait(&cluster, "BLPOP q 0\r\n", acts).0, "*2 $1 q $1 a");
    assert_eq!(registered(&cluster), [0; 4]);
}

#[test]
/// Fails if a command gets what an earlier one of the same connection, which could not be cancelled, was served with.
fn a_command_does_not_get_what_an_earlier_one_left() {
    let cluster = cluster();
    let error = recoil_sdk::CallError::Unavailable("no quorum".to_owned());
    let fail = |fails: bool| cluster.fail_partition(cluster.owner(b"t"), fails.then_some(error.clone()));
    let acts = vec![
        // The wait ends while the partition does not answer, so that the registration stays.
        elsewhere(|| fail(true)),
        Act::Input("BLPOP {t}b 5\r\n"),
        elsewhere(|| {
            fail(false);
            run(&cluster, "RPUSH {t}a one");
        }),
        elsewhere(|| drop(run(&cluster, "RPUSH {t}b two"))),
    ];
    let expected = "-CLUSTERDOWN The partition has no leader: no quorum *2 $4 {t}b $3 two";
    assert_eq!(wait(&cluster, "BLPOP {t}a 1\r\n", acts).0, expected);
    assert_eq!(run(&cluster, "LLEN {t}a"), ":0");
    cluster.advance::<Redis>(11_000_000);
    assert_eq!(run(&cluster, "LRANGE {t}a 0 -1"), "*1 $3 one");
    assert_eq!(registered(&cluster), [0; 4]);
}
