//! What collections of every type have in common: where they are stored, how they end, what else may be done with them.

use super::*;

const SECOND_US: u64 = 1_000_000;

/// A cluster of one partition, whose rows are easy to count.
fn single() -> FakeCluster {
    FakeCluster::new::<Redis>(1, 1)
}

fn rows(cluster: &FakeCluster, kind: u8) -> usize {
    cluster.with_partition(0, |partition| partition.rows().keys().filter(|key| key[0] == kind).count())
}

/// Rows of keys, of elements, and dead rows.
fn row_counts(cluster: &FakeCluster) -> (usize, usize, usize) {
    (rows(cluster, 1), rows(cluster, 2), rows(cluster, 3))
}

/// Make a large collection of every type, 200 elements each.
fn fill(cluster: &FakeCluster, tag: &str) {
    let elements = |format: fn(u32) -> String| (0..200).map(format).collect::<Vec<_>>().join(" ");
    for command in [
        format!("HSET {{{tag}}}hash {}", elements(|number| format!("f{number} v{number}"))),
        format!("SADD {{{tag}}}set {}", elements(|number| format!("m{number}"))),
        format!("RPUSH {{{tag}}}list {}", elements(|number| format!("v{number}"))),
        format!("ZADD {{{tag}}}zset {}", elements(|number| format!("{number} m{number}"))),
    ] {
        assert!(ask(cluster, &command).starts_with(":200"), "{command}");
    }
}

#[test]
/// Fails if a small collection takes more than its key row, or a large one goes on being one row.
fn small_collections_are_one_row_and_large_ones_many() {
    let cluster = single();
    run(&cluster, "HSET h a 1 b 2\nSADD s a b\nRPUSH l a b\nZADD z 1 a 2 b");
    assert_eq!(row_counts(&cluster), (4, 0, 0));
    fill(&cluster, "t");
    // Hash, set and list have a row for each element, the sorted set two.
    assert_eq!(row_counts(&cluster), (8, 1000, 0));
    let long = "x".repeat(600);
    run(&cluster, &format!("HSET h c {long}"));
    assert_eq!(row_counts(&cluster), (8, 1003, 0));
    assert_eq!(run(&cluster, "HGET h a\nHLEN h"), "$1 1 :3");
}

#[test]
/// Fails if removing a large collection touches its elements, or if the cleaner leaves any of them or takes others.
fn large_collections_end_at_once_and_the_cleaner_removes_their_rows() {
    for end in ["DEL KEY", "UNLINK KEY", "SET KEY v", "EXPIRE KEY 0", "PEXPIRE KEY 5", "GETDEL other\nDEL KEY"] {
        for name in ["hash", "set", "list", "zset"] {
            let cluster = single();
            fill(&cluster, "t");
            fill(&cluster, "kept");
            let (keys, elements, _) = row_counts(&cluster);
            run(&cluster, &end.replace("KEY", &format!("{{t}}{name}")));
            if end.starts_with("PEXPIRE") {
                cluster.with_partition(0, |partition| partition.advance_quietly(10_000));
                assert_eq!(run(&cluster, &format!("EXISTS {{t}}{name}")), ":0");
                cluster.with_partition(0, |partition| partition.advance::<Redis>(0));
            } else {
                assert_eq!(row_counts(&cluster).1, elements, "{end} {name}: elements are the cleaner's");
                assert_eq!(row_counts(&cluster).2, 1, "{end} {name}");
            }
            cluster.advance::<Redis>(SECOND_US);
            let own = if name == "zset" { 400 } else { 200 };
            let removed = usize::from(!end.starts_with("SET"));
            assert_eq!(row_counts(&cluster), (keys - removed, elements - own, 0), "{end} {name}");
            assert_eq!(cluster.with_partition(0, |partition| partition.timers().len()), 0, "{end} {name}");
            for (command, reply) in [
                ("HLEN {kept}hash", ":200"),
                ("SCARD {kept}set", ":200"),
                ("LLEN {kept}list", ":200"),
                ("ZCARD {kept}zset", ":200"),
            ] {
                assert_eq!(run(&cluster, command), reply);
            }
        }
    }
}

#[test]
/// Fails if the cleaner removes more at a time than it promises, stops before the end, or goes on for ever.
fn the_cleaner_works_in_steps() {
    use crate::cleaner::ROWS_AT_ONCE;
    let cluster = single();
    for batch in 0..10 {
        let members: String = (0..1000).map(|number| format!(" m{batch}:{number}")).collect();
        ask(&cluster, &format!("SADD large{members}"));
    }
    run(&cluster, "DEL large");
    assert_eq!(row_counts(&cluster), (0, 10_000, 1));
    let fire = || {
        cluster.with_partition(0, |partition| {
            partition.in_transaction(|transaction| crate::executor::fire(transaction, b"c")).unwrap();
        });
    };
    for left in (0..5).rev() {
        fire();
        assert_eq!(row_counts(&cluster).1, left * ROWS_AT_ONCE);
    }
    fire();
    assert_eq!(row_counts(&cluster), (0, 0, 0));
}

#[test]
/// Fails if an earlier life of a key can be seen again.
fn a_key_that_comes_back_has_none_of_its_old_elements() {
    let cluster = single();
    fill(&cluster, "t");
    run(&cluster, "DEL {t}set {t}hash {t}zset {t}list");
    fill(&cluster, "t");
    run(&cluster, "SREM {t}set m1\nHDEL {t}hash f1\nZREM {t}zset m1\nLPOP {t}list");
    cluster.advance::<Redis>(SECOND_US);
    assert_eq!(run(&cluster, "SCARD {t}set\nHLEN {t}hash\nZCARD {t}zset\nLLEN {t}list"), ":199 :199 :199 :199");
    assert_eq!(run(&cluster, "SISMEMBER {t}set m1\nHEXISTS {t}hash f1\nLINDEX {t}list 0"), ":0 :0 $2 v1");
    assert_eq!(row_counts(&cluster), (4, 995, 0));
}

#[test]
/// Fails if RENAME moves elements, loses some, or leaves the ones of its target behind.
fn rename_and_copy_of_large_collections() {
    let cluster = single();
    fill(&cluster, "t");
    fill(&cluster, "u");
    run(&cluster, "EXPIRE {t}set 100");
    assert_eq!(run(&cluster, "RENAME {t}set {u}set\nSCARD {u}set\nTTL {u}set\nEXISTS {t}set"), "+OK :200 :100 :0");
    assert_eq!(
        run(&cluster, "COPY {t}hash copy\nHLEN copy\nHGET copy f7\nHSET copy f7 other\nHGET {t}hash f7"),
        ":1 :200 $2 v7 :0 $2 v7"
    );
    assert_eq!(
        run(&cluster, "COPY {t}zset copy\nCOPY {t}zset copy REPLACE\nZSCORE copy m9\nZRANK copy m9"),
        ":0 :1 $1 9 :9"
    );
    assert_eq!(
        run(&cluster, "COPY {t}list copy REPLACE\nLRANGE copy 198 -1\nRENAMENX {t}list copy"),
        ":1 *2 $4 v198 $4 v199 :0"
    );
    cluster.advance::<Redis>(SECOND_US);
    // hash 2, zset 2 twice, list 3, set 1.
    assert_eq!(row_counts(&cluster), (8, 2 * 200 + 2 * 400 + 3 * 200 + 200, 0));
    // Another partition of the same group, where elements are copied.
    let cluster = cluster_of_one_group();
    fill(&cluster, "t");
    assert_ne!(cluster.owner(b"t"), cluster.owner(b"elsewhere"));
    for (name, contents) in [
        ("hash", "HGET elsewhere f199"),
        ("set", "SMISMEMBER elsewhere m0 m199 m200"),
        ("list", "LRANGE elsewhere 0 0"),
        ("zset", "ZRANGE elsewhere 199 199 WITHSCORES"),
    ] {
        let before = run(&cluster, &contents.replace("elsewhere", &format!("{{t}}{name}")));
        assert_eq!(
            run(&cluster, &format!("EXPIRE {{t}}{name} 50\nRENAME {{t}}{name} elsewhere\nTTL elsewhere")),
            ":1 +OK :50"
        );
        assert_eq!(run(&cluster, contents), before);
        assert_eq!(run(&cluster, &format!("EXISTS {{t}}{name}\nDEL elsewhere")), ":0 :1");
    }
}

#[test]
fn every_type_refuses_the_commands_of_the_others() {
    let cluster = single();
    run(&cluster, "SET string v\nHSET hash f v\nSADD set m\nRPUSH list v\nZADD zset 1 m");
    let commands = [
        ("string", "GET KEY"),
        ("string", "APPEND KEY x"),
        ("string", "INCR KEY"),
        ("string", "SETBIT KEY 1 1"),
        ("string", "BITCOUNT KEY"),
        ("string", "PFADD KEY x"),
        ("string", "SET KEY v GET"),
        ("string", "GETDEL KEY"),
        ("hash", "HGET KEY f"),
        ("hash", "HSET KEY f v"),
        ("hash", "HSCAN KEY 0"),
        ("set", "SADD KEY m"),
        ("set", "SPOP KEY"),
        ("set", "SINTER set KEY"),
        ("set", "SUNIONSTORE other KEY"),
        ("list", "LPUSH KEY v"),
        ("list", "LPOP KEY"),
        ("list", "LMOVE list KEY LEFT LEFT"),
        ("zset", "ZADD KEY 1 m"),
        ("zset", "ZRANGE KEY 0 -1"),
        ("zset", "GEOADD KEY 1 1 m"),
    ];
    for (own, command) in commands {
        for key in ["string", "hash", "set", "list", "zset"] {
            if key == own {
                continue;
            }
            let reply = run(&cluster, &command.replace("KEY", key));
            assert_eq!(
                reply, "-WRONGTYPE Operation against a key holding the wrong kind of value",
                "{command} on {key}"
            );
        }
    }
    check(
        &cluster,
        r#"
        TYPE string                 => +string
        TYPE hash                   => +hash
        TYPE set                    => +set
        TYPE list                   => +list
        TYPE zset                   => +zset
        TYPE nope                   => +none
        MGET hash set string        => *3 $-1 $-1 $1 v
        ZUNIONSTORE other 2 zset string => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZUNION 2 zset set           => *1 $1 m
        SET hash v                  => +OK
        TYPE hash                   => +string
        MSET set v list v           => +OK
        TYPE list                   => +string
        EXISTS other                => :0
        "#,
    );
}

#[test]
fn encodings_are_those_of_redis() {
    let cluster = single();
    let numbers = |count: u32| (0..count).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
    run(&cluster, "HSET h f v\nSADD ints 1 2\nSADD s a\nRPUSH l a\nZADD z 1 a");
    for (command, encoding) in [
        ("OBJECT ENCODING h".to_owned(), "listpack"),
        ("OBJECT ENCODING ints".to_owned(), "intset"),
        ("OBJECT ENCODING s".to_owned(), "listpack"),
        ("OBJECT ENCODING l".to_owned(), "listpack"),
        ("OBJECT ENCODING z".to_owned(), "listpack"),
        (format!("SADD ints {}", numbers(512)), "intset"),
        (format!("SADD ints {}", numbers(513)), "hashtable"),
        (format!("SADD s {}", numbers(127)), "listpack"),
        (format!("SADD s {}", numbers(128)), "hashtable"),
        (format!("HSET h f {}", "x".repeat(64)), "listpack"),
        (format!("HSET h f {}", "x".repeat(65)), "hashtable"),
        (format!("ZADD z 1 {}", "x".repeat(65)), "skiplist"),
        (format!("RPUSH l {}", "x".repeat(9000)), "quicklist"),
    ] {
        ask(&cluster, &command);
        let key = command.split(' ').nth(if command.starts_with("OBJECT") { 2 } else { 1 }).unwrap();
        let reply = run(&cluster, &format!("OBJECT ENCODING {key}"));
        assert_eq!(reply, format!("${} {encoding}", encoding.len()), "{:.60}", command);
    }
    assert_eq!(run(&cluster, "SADD mixed 1\nSADD mixed a\nOBJECT ENCODING mixed"), ":1 :1 $8 listpack");
    let usage = |key: &str| {
        run(&cluster, &format!("MEMORY USAGE {key}")).strip_prefix(':').map(|bytes| bytes.parse::<u64>().unwrap())
    };
    assert!(usage("mixed").unwrap() < 100 && usage("l").unwrap() > 9000);
    check(
        &cluster,
        r#"
        MEMORY USAGE nope           => $-1
        MEMORY USAGE h SAMPLES 5    => :97
        MEMORY USAGE                => -ERR wrong number of arguments for 'memory|usage' command
        MEMORY NONSENSE             => -ERR unknown subcommand 'NONSENSE'. Try MEMORY HELP.
        "#,
    );
}

#[test]
/// Fails if a change of a collection keeps the version that WATCH has seen, or a command without effect makes a new one.
fn watch_sees_changes_of_collections() {
    for (change, exec) in [
        ("SADD w m200", "*-1"),
        ("SADD w m1", "*1 :200"),
        ("SREM w nope", "*1 :200"),
        ("SREM w m1", "*-1"),
        ("SPOP w", "*-1"),
        ("SMEMBERS w", "*1 :200"),
        ("EXPIRE w 100", "*-1"),
        ("DEL w", "*-1"),
    ] {
        let cluster = cluster_of_one_group();
        let members: String = (0..200).map(|number| format!(" m{number}")).collect();
        run(&cluster, &format!("SADD w{members}"));
        let output = serve_steps(
            &cluster,
            vec![
                Box::new(|| b"WATCH w\r\nMULTI\r\nSCARD w\r\n".to_vec()),
                Box::new(|| {
                    run(&cluster, change);
                    b"EXEC\r\n".to_vec()
                }),
            ],
        );
        assert_eq!(text(&output), format!("+OK +OK +QUEUED {exec}"), "{change}");
    }
}

#[test]
/// Fails if a command over several partitions is run on one of them.
fn keys_of_one_command_are_of_one_partition() {
    let cluster = cluster();
    let refused = |name: &str| {
        format!(
            "-CROSSSLOT Keys in request don't hash to the same slot: name the keys of {name} with one hash tag, as in \
             {{user1}}:a and {{user1}}:b"
        )
    };
    for command in [
        "SINTER a b c",
        "SUNIONSTORE a b c",
        "SMOVE a b m",
        "ZUNION 3 a b c",
        "ZUNIONSTORE a 1 b",
        "LMPOP 2 a b LEFT",
        "BITOP AND a b c",
        "PFCOUNT a b",
        "LCS a b",
        "RPOPLPUSH a b",
        "GEORADIUS a 1 1 1 km STORE b",
    ] {
        let name = command.split(' ').next().unwrap();
        assert_eq!(run(&cluster, command), refused(name), "{command}");
        assert_eq!(
            run(&cluster, &format!("MULTI\n{command}\nEXEC")),
            format!("+OK +QUEUED {}", refused(name)),
            "{command}"
        );
    }
    check_session(
        &cluster,
        r#"
        SADD {t}a 1 2 3             => :3
        SADD {t}b 2 3 4             => :3
        SINTERCARD 2 {t}a {t}b      => :2
        SINTERSTORE {t}c {t}a {t}b  => :2
        MULTI                       => +OK
        SUNIONSTORE {t}d {t}a {t}b  => +QUEUED
        SCARD {t}d                  => +QUEUED
        ZUNIONSTORE {t}e 2 {t}a {t}d WEIGHTS 2 3 => +QUEUED
        ZSCORE {t}e 4               => +QUEUED
        EXEC                        => *4 :4 :4 :4 $1 3
        SINTERCARD x {t}a           => -ERR numkeys should be greater than 0
        COMMAND GETKEYS ZUNIONSTORE d 2 a b WEIGHTS 1 2 => *3 $1 d $1 a $1 b
        COMMAND GETKEYS GEORADIUS k 1 1 1 km STORE s => *2 $1 k $1 s
        COMMAND INFO zunion         => *1 *10 $6 zunion :-3 *2 +readonly +movablekeys :0 :0 :0 *3 +@read +@sortedset +@slow *0 *0 *0
        "#,
    );
}

#[test]
fn collections_are_keys_like_others() {
    let cluster = cluster();
    run(&cluster, "HSET h f v\nSADD s m\nRPUSH l v\nZADD z 1 m\nSET str v");
    assert_eq!(run(&cluster, "DBSIZE\nEXISTS h s l z str\nTOUCH h s"), ":5 :5 :2");
    assert!(run(&cluster, "SCAN 0 COUNT 100 TYPE zset").ends_with("*1 $1 z"));
    assert!(run(&cluster, "SCAN 0 COUNT 100 TYPE hash").ends_with("*1 $1 h"));
    assert_eq!(run(&cluster, "PEXPIRE h 10\nPTTL h\nPERSIST h\nHGET h f"), ":1 :10 :1 $1 v");
    run(&cluster, "PEXPIRE h 10\nPEXPIRE s 10\nPEXPIRE l 10\nPEXPIRE z 10");
    (0..13).for_each(|id| cluster.with_partition(id, |partition| partition.advance_quietly(20_000)));
    // Seen by nobody before any timer fires, and written to as if it had never been.
    assert_eq!(
        run(&cluster, "DBSIZE\nHLEN h\nSCARD s\nLLEN l\nZCARD z\nTYPE h\nKEYS *"),
        ":1 :0 :0 :0 :0 +none *1 $3 str"
    );
    assert_eq!(run(&cluster, "HSET h g w\nHGETALL h\nTTL h\nLPUSHX l x"), ":1 *2 $1 g $1 w :-1 :0");
    fill(&cluster, "t");
    assert_eq!(run(&cluster, "FLUSHALL\nDBSIZE"), "+OK :0");
    cluster.advance::<Redis>(SECOND_US);
    let left: usize = (0..13).map(|id| cluster.with_partition(id, |partition| partition.rows().len())).sum();
    assert_eq!(left, 0);
    fill(&cluster, "t");
    assert_eq!(run(&cluster, "SCARD {t}set"), ":200");
}

#[test]
/// Fails if the expiry of a key is lost or kept where Redis does otherwise.
fn expiry_of_collections_follows_redis() {
    check_session(
        &single(),
        r#"
        SADD s a b                  => :2
        EXPIRE s 100                => :1
        SADD s c                    => :1
        TTL s                       => :100
        SUNIONSTORE s s             => :3
        TTL s                       => :-1
        EXPIRE s 100                => :1
        SREM s a b c                => :3
        SADD s a                    => :1
        TTL s                       => :-1
        RPUSH l a                   => :1
        EXPIRE l 100                => :1
        LMOVE l l LEFT RIGHT        => $1 a
        TTL l                       => :100
        HSET h f v                  => :1
        EXPIRE h 100                => :1
        HINCRBY h n 5               => :5
        TTL h                       => :100
        HDEL h f n                  => :2
        EXISTS h                    => :0
        SETBIT b 7 1                => :0
        EXPIRE b 100                => :1
        SETBIT b 7 0                => :1
        TTL b                       => :100
        BITOP NOT b b               => :1
        TTL b                       => :-1
        "#,
    );
}

#[test]
/// Fails if the bytes of any row change: rows on disk outlive this code.
fn the_rows_of_collections_stay_as_they_are() {
    let cluster = single();
    cluster.with_partition(0, |partition| partition.now_us = 0x0102_0303);
    run(&cluster, "HSET h f v\nSADD s m\nRPUSH l a\nZADD z 1 m");
    let payload = |cluster: &FakeCluster, key: &str| {
        cluster.with_partition(0, |partition| {
            let row = partition.rows().iter().find(|(row, _)| row[0] == 1 && row[6..] == *key.as_bytes());
            row.map(|(_, row)| [&row[..3], &row[19..]].concat()).unwrap_or_default()
        })
    };
    // Format, kind, flags; encoding, count, bytes, elements.
    assert_eq!(payload(&cluster, "h"), *b"\x02\x05\x00\x00\x01\x02\x01f\x01v");
    assert_eq!(payload(&cluster, "s"), *b"\x02\x03\x00\x00\x01\x01\x01m");
    assert_eq!(payload(&cluster, "l"), *b"\x02\x02\x00\x00\x01\x01\x01a");
    assert_eq!(payload(&cluster, "z"), *b"\x02\x04\x00\x00\x01\x09\x01m\x3f\xf0\0\0\0\0\0\0");
    run(&cluster, "DEL h s l z");
    cluster.with_partition(0, |partition| partition.now_us = 0x0102_0303);
    let long = "x".repeat(513);
    run(&cluster, &format!("RPUSH l {long}"));
    let generation = (0x0102_0304u64 << 11).to_be_bytes();
    let little: Vec<u8> = generation.iter().rev().copied().collect();
    let expected = [&b"\x02\x02\x01"[..], &little, b"\x00\x01\x81\x04", &(1u64 << 63).to_le_bytes()].concat();
    assert_eq!(payload(&cluster, "l"), expected);
    let element = |part: u8| {
        cluster.with_partition(0, |partition| {
            let mut rows = partition.rows().iter().filter(|(row, _)| row[0] == 2 && row[9] == part);
            rows.next().map(|(row, value)| (row[1..9].to_vec(), row[10..].to_vec(), value.len())).unwrap_or_default()
        })
    };
    assert_eq!(element(0), (generation.to_vec(), vec![0x80, 0, 0, 0, 0, 0, 0, 0], 513));
    run(&cluster, "FLUSHALL");
    cluster.advance::<Redis>(SECOND_US);
    cluster.with_partition(0, |partition| partition.now_us = 0x0102_0303);
    run(&cluster, &format!("ZADD z -1.5 {long}"));
    let (_, place, value) = element(0);
    assert_eq!((&place[..5], place.len(), value), (&[0xcd, 0x0b, 0xe9, 0xaf, 0xc0][..], 518, 8));
    let (_, place, value) = element(1);
    assert_eq!((&place[..8], place.len(), value), (&[0x40, 0x07, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], 521, 0));
}
