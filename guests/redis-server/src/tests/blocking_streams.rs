//! XREAD and XREADGROUP that wait.

use super::blocking::{Act, elsewhere, registered, wait};
use recoil_sdk::Storage as _;

use super::*;

#[test]
/// Fails if a waiting read is not told of what comes, or anything is left of it.
fn waiting_reads_are_served_by_the_write_that_brings_something() {
    for (before, command, write, reply) in [
        ("", "XREAD BLOCK 0 STREAMS s 0\r\n", "XADD s 1-1 f v", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v"),
        ("", "XREAD BLOCK 0 STREAMS s $\r\n", "XADD s 1-1 f v", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v"),
        ("XADD s 1-1 f v", "XREAD BLOCK 0 STREAMS s $\r\n", "XADD s 1-2 f v", "*1 *2 $1 s *1 *2 $3 1-2 *2 $1 f $1 v"),
        (
            "XADD s 1-1 f v",
            "XREAD BLOCK 0 STREAMS x s $ $\r\n",
            "XADD s 1-2 f v",
            "*1 *2 $1 s *1 *2 $3 1-2 *2 $1 f $1 v",
        ),
        ("XADD {s}a 9-9 f v", "XREAD BLOCK 0 STREAMS s 0\r\n", "RENAME {s}a s", "*1 *2 $1 s *1 *2 $3 9-9 *2 $1 f $1 v"),
        (
            "",
            "XREAD BLOCK 0 COUNT 2 STREAMS s 0\r\n",
            "MULTI\nXADD s 1-1 f v\nXADD s 1-2 f v\nXADD s 1-3 f v\nEXEC",
            "*1 *2 $1 s *2 *2 $3 1-1 *2 $1 f $1 v *2 $3 1-2 *2 $1 f $1 v",
        ),
        (
            "XGROUP CREATE s g $ MKSTREAM",
            "XREADGROUP GROUP g c BLOCK 0 STREAMS s >\r\n",
            "XADD s 1-1 f v",
            "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v",
        ),
        ("XGROUP CREATE s g $ MKSTREAM", "XREADGROUP GROUP g c BLOCK 0 STREAMS s >\r\n", "DEL s", GONE),
        ("XGROUP CREATE s g $ MKSTREAM", "XREADGROUP GROUP g c BLOCK 0 STREAMS s >\r\n", "FLUSHALL", GONE),
        ("XGROUP CREATE s g $ MKSTREAM", "XREADGROUP GROUP g c BLOCK 0 STREAMS s >\r\n", "XGROUP DESTROY s g", GONE),
        ("XGROUP CREATE s g $ MKSTREAM", "XREADGROUP GROUP g c BLOCK 0 STREAMS s >\r\n", "RENAME s {s}b", GONE),
        ("XGROUP CREATE s g $ MKSTREAM", "XREADGROUP GROUP g c BLOCK 0 STREAMS s >\r\n", "PEXPIRE s 0", GONE),
        (
            "XGROUP CREATE s g $ MKSTREAM",
            "XREADGROUP GROUP g c BLOCK 0 STREAMS s >\r\n",
            "SET s v",
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        (
            "XGROUP CREATE s g $ MKSTREAM",
            "XREADGROUP GROUP g c BLOCK 0 STREAMS s >\r\n",
            "MULTI\nDEL s\nSADD s a\nEXEC",
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
    ] {
        let cluster = cluster();
        run(&cluster, before);
        let act = elsewhere(|| {
            assert!(registered(&cluster)[0] > 0, "{command}");
            run(&cluster, write);
        });
        let (output, waits) = wait(&cluster, command, vec![act, Act::Input("PING\r\n")]);
        assert_eq!(output, format!("{reply} +PONG"), "{command} {write}");
        assert_eq!(waits, 1, "{command}: a message ends the wait");
        // FLUSHALL leaves timers, which fire for nothing.
        cluster.advance::<Redis>(20_000_000);
        assert_eq!(registered(&cluster), [0; 4], "{command} {write}");
    }
}

const GONE: &str = "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";

#[test]
/// Fails if one entry is delivered to two consumers of a group, or only one reader hears of it.
fn one_consumer_of_a_group_and_all_readers_are_served() {
    let cluster = cluster();
    run(&cluster, "XGROUP CREATE s g $ MKSTREAM");
    let (reader, _) = wait(
        &cluster,
        "XREAD BLOCK 0 STREAMS s $\r\n",
        vec![elsewhere(|| {
            let (first, _) = wait(
                &cluster,
                "XREADGROUP GROUP g a BLOCK 0 STREAMS s >\r\n",
                vec![elsewhere(|| {
                    let one = elsewhere(|| drop(run(&cluster, "XADD s 1-1 f v")));
                    let two = elsewhere(|| drop(run(&cluster, "XADD s 1-2 f v")));
                    let (second, waits) =
                        wait(&cluster, "XREADGROUP GROUP g b BLOCK 0 STREAMS s >\r\n", vec![one, two]);
                    assert_eq!((second.as_str(), waits), ("*1 *2 $1 s *1 *2 $3 1-2 *2 $1 f $1 v", 2));
                })],
            );
            assert_eq!(first, "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v");
        })],
    );
    // It hears of the first when that comes.
    assert_eq!(reader, "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v");
    assert_eq!(run(&cluster, "XPENDING s g"), "*4 :2 $3 1-1 $3 1-2 *2 *2 $1 a $1 1 *2 $1 b $1 1");
    assert_eq!(registered(&cluster), [0; 4]);
}

#[test]
/// Fails if the end of a stream does not reach its groups' readers behind others that wait for the key.
fn groups_hear_of_the_end_behind_other_waiters() {
    let cluster = cluster();
    run(&cluster, "XGROUP CREATE s g $ MKSTREAM");
    let (reader, _) = wait(
        &cluster,
        "XREAD BLOCK 0 STREAMS s $\r\n",
        vec![
            elsewhere(|| {
                let act = elsewhere(|| drop(run(&cluster, "DEL s")));
                let (group, waits) = wait(&cluster, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >\r\n", vec![act]);
                assert_eq!((group.as_str(), waits), (GONE, 1));
            }),
            // The plain one goes on, whatever has the key meanwhile.
            elsewhere(|| drop(run(&cluster, "SET s v\nDEL s\nXADD s 0-1 f v"))),
        ],
    );
    assert_eq!(reader, "*1 *2 $1 s *1 *2 $3 0-1 *2 $1 f $1 v");
}

#[test]
/// Fails if an entry that is removed at once wakes a reader, or `$` means a later moment than that of the command.
fn a_reader_waits_for_what_stays() {
    let cluster = cluster();
    run(&cluster, "XADD s 665 f v");
    let acts = vec![
        elsewhere(|| drop(run(&cluster, "MULTI\nXADD s 667 f v\nXDEL s 667\nEXEC"))),
        elsewhere(|| drop(run(&cluster, "XADD s 668 f v"))),
    ];
    let (output, waits) = wait(&cluster, "XREAD BLOCK 0 STREAMS s $\r\n", acts);
    assert_eq!((output.as_str(), waits), ("*1 *2 $1 s *1 *2 $5 668-0 *2 $1 f $1 v", 2));
    // Even if the registration is lost together with all keys.
    let cluster = super::cluster();
    run(&cluster, "XADD s 5 f v");
    let acts = vec![elsewhere(|| {
        cluster.with_partition(cluster.owner(b"s"), |partition| {
            let lost: Vec<_> = partition.rows().keys().filter(|key| (8..=10).contains(&key[0])).cloned().collect();
            let removed = partition.in_transaction(|transaction| {
                lost.iter().try_for_each(|row| transaction.remove(row))?;
                Ok(())
            });
            removed.expect("rows can be removed");
        });
        run(&cluster, "XADD s 6 f v");
    })];
    let (output, _) = wait(&cluster, "XREAD BLOCK 0 STREAMS s $\r\n", acts);
    assert_eq!(output, "*1 *2 $1 s *1 *2 $3 6-0 *2 $1 f $1 v");
}

#[test]
/// Fails if streams of two partitions that are added to at the same moment lose what was delivered.
fn what_two_partitions_deliver_is_one_reply() {
    let cluster = cluster();
    assert_ne!(cluster.owner(b"s"), cluster.owner(b"t"));
    run(&cluster, "XGROUP CREATE s g $ MKSTREAM\nXGROUP CREATE t g $ MKSTREAM");
    let act = elsewhere(|| drop(run(&cluster, "XADD t 2-2 f v\nXADD s 1-1 f v")));
    let (output, _) = wait(&cluster, "XREADGROUP GROUP g c BLOCK 0 STREAMS s t > >\r\n", vec![act]);
    assert_eq!(output, "*2 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v *2 $1 t *1 *2 $3 2-2 *2 $1 f $1 v");
    assert_eq!(registered(&cluster), [0; 4]);
    let quiet = elsewhere(|| drop(run(&cluster, "SET other v")));
    let (output, _) = wait(&cluster, "XREADGROUP GROUP g c BLOCK 100 STREAMS s t > >\r\n", vec![quiet]);
    assert_eq!(output, "*-1");
    assert_eq!(registered(&cluster), [0; 4]);
}
