//! Hashes and sets: the commands, and what other implementations got wrong.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[test]
fn hashes_as_redis_documents_them() {
    check(
        &cluster(),
        r#"
        HSET h a 1 b 2 a 3          => :2
        HSET h a 4 c 5              => :1
        HGET h a                    => $1 4
        HGET h nope                 => $-1
        HGET nope a                 => $-1
        HMGET h a nope c            => *3 $1 4 $-1 $1 5
        HMGET nope a b              => *2 $-1 $-1
        HGETALL h                   => *6 $1 a $1 4 $1 b $1 2 $1 c $1 5
        HGETALL nope                => *0
        HKEYS h                     => *3 $1 a $1 b $1 c
        HVALS h                     => *3 $1 4 $1 2 $1 5
        HLEN h                      => :3
        HEXISTS h a                 => :1
        HEXISTS h z                 => :0
        HSTRLEN h a                 => :1
        HSTRLEN h z                 => :0
        HSETNX h a 9                => :0
        HSETNX h d 9                => :1
        HDEL h d d nope             => :1
        HDEL nope a                 => :0
        HMSET h x 1                 => +OK
        HMSET h x                   => -ERR wrong number of arguments for 'hmset' command
        HSET h x 1 y                => -ERR wrong number of arguments for 'hset' command
        HINCRBY h n 5               => :5
        HINCRBY h n -7              => :-2
        HINCRBY h n x               => -ERR value is not an integer or out of range
        HSET h t text               => :1
        HINCRBY h t 1               => -ERR hash value is not an integer
        HSET h n 9223372036854775807 => :0
        HINCRBY h n 1               => -ERR increment or decrement would overflow
        HINCRBYFLOAT h f 10.5       => $4 10.5
        HINCRBYFLOAT h f 0.1        => $4 10.6
        HINCRBYFLOAT h t 1          => -ERR hash value is not a float
        HINCRBYFLOAT h f x          => -ERR value is not a valid float
        HINCRBYFLOAT h f inf        => -ERR value is NaN or Infinity
        HRANDFIELD nope             => $-1
        HRANDFIELD nope 5           => *0
        HRANDFIELD h 1 NONSENSE     => -ERR syntax error
        HDEL h a b c x n t f        => :7
        EXISTS h                    => :0
        HSET "" "" ""               => :1
        HGET "" ""                  => $0
        "#,
    );
}

#[test]
fn sets_as_redis_documents_them() {
    check(
        &cluster(),
        r#"
        SADD s a a b                => :2
        SADD s b c                  => :1
        SCARD s                     => :3
        SREM s a a                  => :1
        SISMEMBER s b               => :1
        SISMEMBER s a               => :0
        SMISMEMBER s b a c          => *3 :1 :0 :1
        SMISMEMBER nope a b         => *2 :0 :0
        SMEMBERS s                  => *2 $1 b $1 c
        SMEMBERS nope               => *0
        SMOVE {s}1 {s}2 a           => :0
        SADD {s}1 a b               => :2
        SADD {s}2 b                 => :1
        SMOVE {s}1 {s}2 a           => :1
        SMOVE {s}1 {s}2 b           => :1
        SMOVE {s}1 {s}2 b           => :0
        EXISTS {s}1                 => :0
        SCARD {s}2                  => :2
        SMOVE {s}2 {s}2 a           => :1
        SPOP nope                   => $-1
        SPOP nope 2                 => *0
        SPOP s -1                   => -ERR value is out of range, must be positive
        SPOP s 0                    => *0
        SPOP s 5                    => *2 $1 b $1 c
        EXISTS s                    => :0
        SRANDMEMBER nope            => $-1
        SRANDMEMBER nope 3          => *0
        SADD one x                  => :1
        SRANDMEMBER one -3          => *3 $1 x $1 x $1 x
        SRANDMEMBER one 3           => *1 $1 x
        SINTER nope one             => -CROSSSLOT Keys in request don't hash to the same slot: name the keys of SINTER with one hash tag, as in {user1}:a and {user1}:b
        SINTERCARD 0 {s}1           => -ERR numkeys should be greater than 0
        SINTERCARD 3 {s}1 {s}2      => -ERR Number of keys can't be greater than number of args
        SINTERCARD 1 {s}2 LIMIT -1  => -ERR LIMIT can't be negative
        SINTERCARD 1 {s}2 LIMIT 1   => :1
        SINTERCARD 1 {s}2 LIMIT 0   => :2
        "#,
    );
}

#[test]
fn replies_in_resp3_have_their_types() {
    let cluster = cluster();
    run(&cluster, "HSET h f v\nSADD s m\nZADD z 1.5 a\nRPUSH l x");
    for (command, reply) in [
        ("HGETALL h", "%1 $1 f $1 v"),
        ("HGETALL nope", "%0"),
        ("HRANDFIELD h 1 WITHVALUES", "*1 *2 $1 f $1 v"),
        ("SMEMBERS s", "~1 $1 m"),
        ("SINTER s", "~1 $1 m"),
        ("SPOP s 1", "~1 $1 m"),
        ("HGET h nope", "_"),
        ("LPOP nope 1", "_"),
        ("ZSCORE z a", ",1.5"),
        ("ZADD z INCR 1 a", ",2.5"),
        ("ZRANGE z 0 -1 WITHSCORES", "*1 *2 $1 a ,2.5"),
        ("ZRANK z nope WITHSCORE", "_"),
        ("ZRANK z a WITHSCORE", "*2 :0 ,2.5"),
        ("ZRANDMEMBER z 1 WITHSCORES", "*1 *2 $1 a ,2.5"),
        ("ZMPOP 1 nope MIN", "_"),
        ("ZPOPMIN z", "*2 $1 a ,2.5"),
        ("ZPOPMIN z 1", "*0"),
        ("ZADD z 1 a 2 b", ":2"),
        ("ZPOPMAX z 1", "*1 *2 $1 b ,2"),
        ("ZMPOP 1 z MIN COUNT 5", "*2 $1 z *1 *2 $1 a ,1"),
    ] {
        assert_eq!(run3(&cluster, command), reply, "{command}");
    }
}

/// A whole scan of a collection: `between` is run after each call. Answers the replies without the cursors.
fn scan(cluster: &FakeCluster, command: &str, key: &str, options: &str, mut between: impl FnMut(usize)) -> Vec<String> {
    let (mut cursor, mut found, mut calls) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let reply = run(cluster, &format!("{command} {key} {cursor} {options}"));
        let words: Vec<&str> = reply.split(' ').collect();
        assert_eq!(words[0], "*2", "{reply}");
        cursor = words[2].to_owned();
        assert!(cursor.bytes().all(|byte| byte.is_ascii_digit()));
        found.extend(words[4..].chunks(2).map(|pair| pair[1].to_owned()));
        calls += 1;
        assert!(calls < 10_000, "the walk ends");
        if cursor == "0" {
            return found;
        }
        between(calls);
    }
}

#[test]
/// Fails if members that stay are missed or come twice while others come and go.
fn scans_of_large_collections_keep_their_promise() {
    let cluster = cluster();
    for number in 0..300 {
        run(
            &cluster,
            &format!(
                "SADD s stays:{number} goes:{number}\nHSET h stays:{number} {number}\nZADD z {number} stays:{number}"
            ),
        );
    }
    let found = scan(&cluster, "SSCAN", "s", "COUNT 5", |call| {
        run(&cluster, &format!("SREM s goes:{call} goes:{}\nSADD s comes:{call}", 300 - call));
    });
    assert_eq!(found.iter().filter(|member| member.starts_with("stays:")).count(), 300);
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len());
    let found = scan(&cluster, "HSCAN", "h", "COUNT 7", |_| {});
    assert_eq!(found.len(), 600);
    assert!(found.chunks(2).all(|pair| pair[0] == format!("stays:{}", pair[1])));
    let found = scan(&cluster, "ZSCAN", "z", "COUNT 70 MATCH *:1?", |_| {});
    assert_eq!(found.len(), 20);
    // A client that deletes while it scans comes to an end.
    let mut calls = 0;
    scan(&cluster, "SSCAN", "s", "COUNT 1", |call| {
        calls = call;
        run(&cluster, "DEL s");
    });
    assert_eq!(calls, 1);
    check(
        &cluster,
        r#"
        SSCAN nope 1000             => *2 $1 0 *0
        HSCAN h x                   => -ERR invalid cursor
        HSCAN h 0 COUNT 0           => -ERR syntax error
        HSCAN h 0 NONSENSE 1        => -ERR syntax error
        HSCAN h 18446744073709551615 => *2 $1 0 *0
        SADD small a b c            => :3
        SSCAN small 0 COUNT 1       => *2 $1 0 *3 $1 a $1 b $1 c
        "#,
    );
}

#[test]
/// Fails if random members are not distinct, not members, or not about equally frequent.
fn random_members_are_uniform_and_distinct() {
    let cluster = FakeCluster::new::<Redis>(1, 1);
    for size in [5u32, 300] {
        let members: String = (0..size).map(|number| format!(" m{number}")).collect();
        run(&cluster, &format!("DEL s\nSADD s{members}"));
        for count in [1, 2, 100, 250, 1000] {
            let reply = run(&cluster, &format!("SRANDMEMBER s {count}"));
            let found: Vec<&str> = reply.split(' ').skip(1).collect();
            let distinct: BTreeSet<_> = found.chunks(2).map(|pair| pair[1]).collect();
            assert_eq!(distinct.len(), count.min(size) as usize, "{reply}");
            assert_eq!(found.len(), 2 * distinct.len());
        }
        let mut frequencies: BTreeMap<String, u32> = BTreeMap::new();
        let reply = run(&cluster, &format!("SRANDMEMBER s -{}\n", size * 100)).to_owned();
        let rest: String = (0..size).map(|_| format!("{}\n", "SRANDMEMBER s")).collect();
        let single = run(&cluster, &rest);
        for pair in reply
            .split(' ')
            .skip(1)
            .collect::<Vec<_>>()
            .chunks(2)
            .chain(single.split(' ').collect::<Vec<_>>().chunks(2))
        {
            *frequencies.entry(pair[1].to_owned()).or_default() += 1;
        }
        assert_eq!(frequencies.len(), size as usize);
        assert!(frequencies.values().all(|times| (40..200).contains(times)), "{frequencies:?}");
        let popped = run(&cluster, &format!("SPOP s {}", size - 2));
        let left = run(&cluster, "SMEMBERS s");
        let all: BTreeSet<&str> =
            popped.split(' ').chain(left.split(' ')).filter(|word| word.starts_with('m')).collect();
        assert_eq!((all.len(), run(&cluster, "SCARD s").as_str()), (size as usize, ":2"));
    }
}

#[test]
/// Fails if the buckets of a large set are not met alike, which one drawing of all would not show.
fn single_drawings_from_rows_are_uniform() {
    let cluster = FakeCluster::new::<Redis>(1, 1);
    let members: String = (0..200).map(|number| format!(" m{number}")).collect();
    run(&cluster, &format!("SADD s{members}"));
    let mut frequencies: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..40 {
        let reply = run(&cluster, "SRANDMEMBER s -500");
        for pair in reply.split(' ').skip(1).collect::<Vec<_>>().chunks(2) {
            *frequencies.entry(pair[1].to_owned()).or_default() += 1;
        }
    }
    // 100 each on average, with a standard deviation of 10.
    assert_eq!(frequencies.len(), 200);
    assert!(frequencies.values().all(|times| (50..160).contains(times)), "{frequencies:?}");
}

#[test]
fn a_reply_that_is_too_large_is_an_error_and_changes_nothing() {
    let cluster = FakeCluster::new::<Redis>(1, 1);
    let value = vec![b'v'; 6 << 20];
    for field in [&b"a"[..], b"b", b"c"] {
        send(&cluster, &encode(&[b"HSET", b"h", field, &value]));
        send(&cluster, &encode(&[b"RPUSH", b"l", &value]));
    }
    for command in ["HGETALL h", "HVALS h", "LRANGE l 0 -1", "LPOP l 3", "HMGET h a b c"] {
        let reply = run(&cluster, &format!("{command}\nPING"));
        assert!(
            reply.starts_with("-ERR the reply would be above") && reply.ends_with("+PONG"),
            "{command}: {:.100}",
            reply
        );
    }
    assert_eq!(run(&cluster, "LLEN l\nHLEN h"), ":3 :3");
    assert_eq!(run(&cluster, "HKEYS h"), "*3 $1 a $1 b $1 c");
}
