//! Keys that end.

use super::*;

const SECOND_US: u64 = 1_000_000;

/// Let time pass everywhere without any timer firing.
fn pass_quietly(cluster: &FakeCluster, microseconds: u64) {
    for id in 0..13 {
        cluster.with_partition(id, |partition| partition.advance_quietly(microseconds));
    }
}

fn rows(cluster: &FakeCluster) -> usize {
    (0..13).map(|id| cluster.with_partition(id, |partition| partition.rows().len())).sum()
}

fn timers(cluster: &FakeCluster) -> usize {
    (0..13).map(|id| cluster.with_partition(id, |partition| partition.timers().len())).sum()
}

#[test]
fn expire_and_its_relatives() {
    check(
        &cluster(),
        r#"
        SET k v                     => +OK
        EXPIRE k 100                => :1
        TTL k                       => :100
        PTTL k                      => :100000
        PEXPIRE k 1499              => :1
        TTL k                       => :1
        PEXPIRE k 1501              => :1
        TTL k                       => :2
        EXPIREAT k 4000000000       => :1
        EXPIRETIME k                => :4000000000
        PEXPIREAT k 4000000000999   => :1
        PEXPIRETIME k               => :4000000000999
        EXPIRETIME k                => :4000000001
        PERSIST k                   => :1
        PERSIST k                   => :0
        PERSIST nope                => :0
        TTL k                       => :-1
        PTTL nope                   => :-2
        EXPIRE nope 10              => :0
        EXPIRE k 10 XX              => :0
        EXPIRE k 10 GT              => :0
        EXPIRE k 100 LT             => :1
        EXPIRE k 200 LT             => :0
        EXPIRE k 50 GT              => :0
        EXPIRE k 200 GT             => :1
        EXPIRE k 10 NX              => :0
        EXPIRE k 10 xx              => :1
        TTL k                       => :10
        EXPIRE k 10 NX XX           => -ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE k 10 GT LT           => -ERR GT and LT options at the same time are not compatible
        EXPIRE k 10 NONSENSE        => -ERR Unsupported option NONSENSE
        EXPIRE k x                  => -ERR value is not an integer or out of range
        EXPIRE k 9223372036854775807 => -ERR invalid expire time in 'expire' command
        EXPIRE k -9223372036854775808 => -ERR invalid expire time in 'expire' command
        PEXPIRE k 9223372036854775807 => -ERR invalid expire time in 'pexpire' command
        EXPIRE k 10000000000        => :1
        TTL k                       => :10000000000
        EXPIRE k 0                  => :1
        EXISTS k                    => :0
        SET k v                     => +OK
        EXPIREAT k -5               => :1
        GET k                       => $-1
        SET k v                     => +OK
        EXPIREAT k 0                => :1
        GET k                       => $-1
        "#,
    );
}

#[test]
fn an_expired_key_is_gone_for_every_command_before_any_timer_fires() {
    let cluster = cluster();
    run(&cluster, "SET k v PX 1000\nSET stays v");
    pass_quietly(&cluster, SECOND_US);
    assert_eq!(rows(&cluster), 2);
    check(
        &cluster,
        r#"
        GET k                       => $-1
        EXISTS k                    => :0
        TTL k                       => :-2
        STRLEN k                    => :0
        DBSIZE                      => :1
        KEYS *                      => *1 $5 stays
        MGET k stays                => *2 $-1 $1 v
        "#,
    );
    assert_eq!(rows(&cluster), 2, "reads write nothing");
    assert_eq!(run(&cluster, "SET k w XX\nSETNX k x\nGET k\nTTL k"), "$-1 :1 $1 x :-1");
    assert_eq!(timers(&cluster), 0, "nothing is left of the key's first life");
}

#[test]
fn a_timer_removes_what_nobody_reads() {
    let cluster = cluster();
    run(&cluster, "SET a v PX 1000\nSET b v EX 2\nSET c v");
    assert_eq!((rows(&cluster), timers(&cluster)), (3, 2));
    assert_eq!(cluster.advance::<Redis>(SECOND_US), 1);
    assert_eq!((rows(&cluster), timers(&cluster)), (2, 1));
    assert_eq!(cluster.advance::<Redis>(10 * SECOND_US), 1);
    assert_eq!((rows(&cluster), timers(&cluster)), (1, 0));
}

#[test]
fn timers_follow_what_happens_to_the_key() {
    let cluster = cluster();
    let timers_after = |commands: &str| {
        run(&cluster, commands);
        timers(&cluster)
    };
    assert_eq!(timers_after("SET k v EX 10"), 1);
    assert_eq!(timers_after("EXPIRE k 20"), 1);
    assert_eq!(timers_after("APPEND k x"), 1);
    assert_eq!(timers_after("PERSIST k"), 0);
    assert_eq!(timers_after("EXPIRE k 20"), 1);
    assert_eq!(timers_after("SET k v"), 0);
    assert_eq!(timers_after("SET k v EX 5\nDEL k"), 0);
    assert_eq!(timers_after("SET {t}k v EX 5\nRENAME {t}k {t}l"), 1);
    assert_eq!(timers_after("GETDEL {t}l"), 0);
    assert_eq!(timers_after("SET far v EXAT 10000000000"), 0, "beyond what a timer can be set to");
    assert_eq!(timers_after("SET k v EX 5\nFLUSHALL\nSET k again"), 0);
    cluster.advance::<Redis>(6 * SECOND_US);
    assert_eq!((run(&cluster, "GET k"), timers(&cluster)), ("$5 again".to_owned(), 0));
}

#[test]
fn a_timer_that_comes_early_is_set_again() {
    let cluster = cluster();
    run(&cluster, "SET k v EX 10");
    let id = cluster.owner(b"k");
    cluster.with_partition(id, |partition| {
        partition.in_transaction(|transaction| crate::executor::fire(transaction, b"kk")).unwrap();
        assert_eq!(partition.timers().len(), 1);
        assert_eq!(partition.rows().len(), 1);
    });
}

/// Fails if a time that is too far for the microseconds of a row is refused, comes, or is forgotten.
#[test]
fn times_without_end_are_kept() {
    let cluster = cluster();
    check_session(
        &cluster,
        r#"
        SET k v                            => +OK
        PEXPIREAT k 9223372036854775807    => :1
        PEXPIRETIME k                      => :9223372036854775807
        PEXPIREAT k 9223372036854775808    => -ERR value is not an integer or out of range
        PEXPIRE k 9223372036854775807      => -ERR invalid expire time in 'pexpire' command
        EXPIREAT k 9223372036854776        => -ERR invalid expire time in 'expireat' command
        PEXPIREAT k 9223372036854775 LT    => :1
        PEXPIRETIME k                      => :9223372036854775
        PEXPIREAT k 9223372036854776 GT    => :1
        PEXPIRETIME k                      => :9223372036854776
        SET k w PXAT 9223372036854775806   => +OK
        "#,
    );
    cluster.advance::<Redis>(1_000 * SECOND_US);
    assert_eq!(run(&cluster, "GET k\nPEXPIRETIME k"), "$1 w :9223372036854775806");
}
