//! Streams and their groups.

use super::*;

fn rows(cluster: &FakeCluster, id: u32) -> usize {
    cluster.with_partition(id, |partition| partition.rows().len())
}

#[test]
/// Fails if ids, ranges or trimming differ from Redis'.
fn entries() {
    let cluster = cluster();
    check(
        &cluster,
        r#"
        XADD s 0-0 f v             => -ERR The ID specified in XADD must be greater than 0-0
        XADD s NOMKSTREAM 1-1 f v  => $-1
        XADD s 1-1 f v             => $3 1-1
        XADD s 1-1 f v             => -ERR The ID specified in XADD is equal or smaller than the target stream top item
        XADD s 1-* f v g w         => $3 1-2
        XADD s 5 a b               => $3 5-0
        XADD s x a b               => -ERR Invalid stream ID specified as stream command argument
        XADD s 6-1 a               => -ERR wrong number of arguments for 'xadd' command
        XADD s 6-1 a b c           => -ERR wrong number of arguments for 'xadd' command
        XADD s MAXLEN 1 LIMIT 5 * a b => -ERR syntax error, LIMIT cannot be used without the special ~ option
        XADD s LIMIT 5 * a b       => -ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
        XADD s MAXLEN 1 MINID 5 * a b => -ERR syntax error, MAXLEN and MINID options at the same time are not compatible
        XADD s MAXLEN -1 * a b     => -ERR The MAXLEN argument must be >= 0.
        XADD s MAXLEN ~ 1 LIMIT -1 * a b => -ERR The LIMIT argument must be >= 0.
        XLEN s                     => :3
        TYPE s                     => +stream
        OBJECT ENCODING s          => $6 stream
        XRANGE s - +               => *3 *2 $3 1-1 *2 $1 f $1 v *2 $3 1-2 *4 $1 f $1 v $1 g $1 w *2 $3 5-0 *2 $1 a $1 b
        XRANGE s (1-1 1            => *1 *2 $3 1-2 *4 $1 f $1 v $1 g $1 w
        XRANGE s 1-2 (5-0          => *1 *2 $3 1-2 *4 $1 f $1 v $1 g $1 w
        XRANGE s - + COUNT 1       => *1 *2 $3 1-1 *2 $1 f $1 v
        XRANGE s - + COUNT 0       => *-1
        XRANGE s - + COUNT         => -ERR syntax error
        XRANGE s (18446744073709551615-18446744073709551615 + => -ERR invalid start ID for the interval
        XRANGE s - (0-0            => -ERR invalid end ID for the interval
        XREVRANGE s + - COUNT 1    => *1 *2 $3 5-0 *2 $1 a $1 b
        XREVRANGE s + (1-2         => *1 *2 $3 5-0 *2 $1 a $1 b
        XRANGE none - +            => *0
        XDEL s 1-1 1-1 9-9         => :1
        XDEL s x                   => -ERR Invalid stream ID specified as stream command argument
        XDEL none x                => :0
        XLEN s                     => :2
        XTRIM s MAXLEN 1           => :1
        XTRIM s MINID 5            => :0
        XTRIM s MINID = 6          => :1
        XTRIM none MAXLEN 1        => :0
        XTRIM s MAXLEN 1 BOGUS     => -ERR syntax error
        EXISTS s                   => :1
        XLEN s                     => :0
        XADD s 5-0 a b             => -ERR The ID specified in XADD is equal or smaller than the target stream top item
        XADD s MAXLEN 0 6-0 a b    => $3 6-0
        XLEN s                     => :0
        XADD s 18446744073709551615-18446744073709551615 a b => $41 18446744073709551615-18446744073709551615
        XADD s * a b               => -ERR The stream has exhausted the last possible ID, unable to add more items
        SET t v                    => +OK
        XADD t 1-1 a b             => -WRONGTYPE Operation against a key holding the wrong kind of value
        XLEN t                     => -WRONGTYPE Operation against a key holding the wrong kind of value
        GET s                      => -WRONGTYPE Operation against a key holding the wrong kind of value
        XSETID none 1              => -ERR no such key
        XADD u 5-5 a b             => $3 5-5
        XSETID u 5-4               => -ERR The ID specified in XSETID is smaller than the target stream top item
        XSETID u 9-9 ENTRIESADDED 0 => -ERR The entries_added specified in XSETID is smaller than the target stream length
        XSETID u 9-9 ENTRIESADDED 7 MAXDELETEDID 9-10 => -ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id
        XSETID u 9-9 ENTRIESADDED 7 MAXDELETEDID 2-0 => +OK
        XADD u 9-9 a b             => -ERR The ID specified in XADD is equal or smaller than the target stream top item
        XINFO STREAM u             => *20 $6 length :1 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 9-9 $20 max-deleted-entry-id $3 2-0 $13 entries-added :7 $23 recorded-first-entry-id $3 5-5 $6 groups :0 $11 first-entry *2 $3 5-5 *2 $1 a $1 b $10 last-entry *2 $3 5-5 *2 $1 a $1 b
        XINFO STREAM none          => -ERR no such key
        XINFO BOGUS s              => -ERR unknown subcommand 'BOGUS'. Try XINFO HELP.
        XINFO GROUPS               => -ERR wrong number of arguments for 'xinfo|groups' command
        "#,
    );
    assert!(run3(&cluster, "XINFO STREAM u").starts_with("%10 $6 length :1 "));
}

#[test]
/// Fails if `~` keeps to other steps than Redis, or a trim removes more than LIMIT.
fn rough_trimming() {
    let cluster = cluster();
    for number in 1..=1000 {
        run(&cluster, &format!("XADD s MAXLEN ~ 555 {number}-0 f v"));
    }
    check(
        &cluster,
        r#"
        XLEN s                           => :600
        XTRIM s MAXLEN ~ 555             => :0
        XTRIM s MAXLEN ~ 0 LIMIT 30      => :0
        XTRIM s MAXLEN ~ 0 LIMIT 130     => :100
        XTRIM s MINID ~ 601-0            => :100
        XTRIM s MINID ~ 650-0            => :0
        XTRIM s MINID 602-0              => :1
        XRANGE s - + COUNT 1             => *1 *2 $5 602-0 *2 $1 f $1 v
        XTRIM s MAXLEN 2                 => :397
        XRANGE s - +                     => *2 *2 $5 999-0 *2 $1 f $1 v *2 $6 1000-0 *2 $1 f $1 v
        "#,
    );
}

#[test]
fn plain_reads() {
    let cluster = cluster();
    assert_ne!(cluster.owner(b"s"), cluster.owner(b"t"));
    check(
        &cluster,
        r#"
        XREAD STREAMS s 0            => *-1
        XADD s 1-1 f v               => $3 1-1
        XADD s 1-2 f v               => $3 1-2
        XADD t 2-1 g w               => $3 2-1
        XREAD STREAMS s 1-1          => *1 *2 $1 s *1 *2 $3 1-2 *2 $1 f $1 v
        XREAD COUNT 1 STREAMS s 0    => *1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v
        XREAD STREAMS s $            => *-1
        XREAD COUNT 1 STREAMS t s 0 0 => *2 *2 $1 t *1 *2 $3 2-1 *2 $1 g $1 w *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v
        XREAD STREAMS t s $ 1-1      => *1 *2 $1 s *1 *2 $3 1-2 *2 $1 f $1 v
        XREAD BLOCK 1 STREAMS t s 2 1-1 => *2 *2 $1 t *1 *2 $3 2-1 *2 $1 g $1 w *2 $1 s *1 *2 $3 1-2 *2 $1 f $1 v
        XREAD STREAMS s >            => -ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.
        XREAD STREAMS s t 0          => -ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.
        XREAD GROUP g c STREAMS s 0  => -ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.
        XREAD NOACK STREAMS s 0      => -ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.
        XREAD COUNT 1 BLOCK 1        => -ERR syntax error
        XREAD BLOCK x STREAMS s 0    => -ERR timeout is not an integer or out of range
        XREAD BLOCK -1 STREAMS s 0   => -ERR timeout is negative
        XREADGROUP NOACK COUNT 1 STREAMS s 0 => -ERR Missing GROUP option for XREADGROUP
        XREADGROUP GROUP g c STREAMS s $ => -ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.
        SET v v                      => +OK
        XREAD STREAMS v 0            => -WRONGTYPE Operation against a key holding the wrong kind of value
        COMMAND GETKEYS XREAD COUNT 2 BLOCK 5 STREAMS a b 0 0 => *2 $1 a $1 b
        COMMAND GETKEYS XREADGROUP GROUP STREAMS c STREAMS a 0 => *1 $1 a
        "#,
    );
    assert_eq!(
        run3(&cluster, "XREAD STREAMS t s 0 1-1"),
        "%2 $1 t *1 *2 $3 2-1 *2 $1 g $1 w $1 s *1 *2 $3 1-2 *2 $1 f $1 v"
    );
    assert_eq!(run3(&cluster, "XREAD STREAMS s $"), "_");
    assert_eq!(
        run(&cluster, "MULTI\nXADD s 3-3 a b\nXREAD BLOCK 0 STREAMS s 1-2\nXREAD BLOCK 0 STREAMS s $\nEXEC"),
        "+OK +QUEUED +QUEUED +QUEUED *3 $3 3-3 *1 *2 $1 s *1 *2 $3 3-3 *2 $1 a $1 b *-1"
    );
}

#[test]
/// Fails if a group delivers twice, forgets what is pending, or counts wrongly.
fn groups() {
    let cluster = cluster();
    check(
        &cluster,
        r#"
        XGROUP CREATE s g $               => -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
        XREADGROUP GROUP g c STREAMS s >  => -NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option
        XGROUP CREATE s g $ MKSTREAM      => +OK
        XGROUP CREATE s g $ MKSTREAM      => -BUSYGROUP Consumer Group name already exists
        XGROUP CREATE s g $ BOGUS         => -ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.
        XGROUP CREATE s g                 => -ERR wrong number of arguments for 'xgroup|create' command
        XGROUP BOGUS                      => -ERR unknown subcommand 'BOGUS'. Try XGROUP HELP.
        XGROUP SETID s none 1             => -NOGROUP No such consumer group 'none' for key name 's'
        XREADGROUP GROUP g c STREAMS s >  => *-1
        XADD s 1-1 f 1                    => $3 1-1
        XADD s 1-2 f 2                    => $3 1-2
        XADD s 1-3 f 3                    => $3 1-3
        XADD s 1-4 f 4                    => $3 1-4
        XREADGROUP GROUP g c COUNT 2 STREAMS s > => *1 *2 $1 s *2 *2 $3 1-1 *2 $1 f $1 1 *2 $3 1-2 *2 $1 f $1 2
        XREADGROUP GROUP g d COUNT 1 STREAMS s > => *1 *2 $1 s *1 *2 $3 1-3 *2 $1 f $1 3
        XREADGROUP GROUP g c STREAMS s 0  => *1 *2 $1 s *2 *2 $3 1-1 *2 $1 f $1 1 *2 $3 1-2 *2 $1 f $1 2
        XREADGROUP GROUP g c STREAMS s 1-1 => *1 *2 $1 s *1 *2 $3 1-2 *2 $1 f $1 2
        XREADGROUP GROUP g e STREAMS s 0  => *1 *2 $1 s *0
        XPENDING s g                      => *4 :3 $3 1-1 $3 1-3 *2 *2 $1 c $1 2 *2 $1 d $1 1
        XACK s g 1-1 1-1 9-9              => :1
        XACK s none 1-1                   => :0
        XACK none g 1-1                   => :0
        XPENDING s g                      => *4 :2 $3 1-2 $3 1-3 *2 *2 $1 c $1 1 *2 $1 d $1 1
        XDEL s 1-2                        => :1
        XREADGROUP GROUP g c STREAMS s 0  => *1 *2 $1 s *1 *2 $3 1-2 *-1
        XREADGROUP GROUP g c NOACK STREAMS s > => *1 *2 $1 s *1 *2 $3 1-4 *2 $1 f $1 4
        XREADGROUP GROUP g c STREAMS s >  => *-1
        XPENDING s g - + 10 d             => *1 *4 $3 1-3 $1 d :0 :1
        XPENDING s g - + 10 nobody        => *0
        XPENDING s g IDLE 100000 - + 10   => *0
        XPENDING s g - + 0                => *0
        XPENDING s g - +                  => -ERR syntax error
        XPENDING s none                   => -NOGROUP No such key 's' or consumer group 'none'
        XGROUP CREATECONSUMER s g c       => :0
        XGROUP CREATECONSUMER s g f       => :1
        XGROUP DELCONSUMER s g f          => :0
        XGROUP DELCONSUMER s g none       => :0
        XGROUP DELCONSUMER s g d          => :1
        XPENDING s g                      => *4 :1 $3 1-2 $3 1-2 *1 *2 $1 c $1 1
        XGROUP SETID s g 1-2              => +OK
        XREADGROUP GROUP g e STREAMS s >  => *1 *2 $1 s *2 *2 $3 1-3 *2 $1 f $1 3 *2 $3 1-4 *2 $1 f $1 4
        XGROUP SETID s g 1-2              => +OK
        XREADGROUP GROUP g c STREAMS s >  => *1 *2 $1 s *2 *2 $3 1-3 *2 $1 f $1 3 *2 $3 1-4 *2 $1 f $1 4
        XPENDING s g                      => *4 :3 $3 1-2 $3 1-4 *1 *2 $1 c $1 3
        XGROUP DESTROY s none             => :0
        XGROUP DESTROY s g                => :1
        XPENDING s g                      => -NOGROUP No such key 's' or consumer group 'g'
        XGROUP CREATE s g 0               => +OK
        XPENDING s g                      => *4 :0 $-1 $-1 *-1
        XINFO GROUPS s                    => *1 *12 $4 name $1 g $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 0-0 $12 entries-read $-1 $3 lag $-1
        XINFO CONSUMERS s g               => *0
        XINFO CONSUMERS s none            => -NOGROUP No such consumer group 'none' for key name 's'
        "#,
    );
}

#[test]
fn claims() {
    let cluster = cluster();
    check(
        &cluster,
        r#"
        XADD s 1-1 f 1                    => $3 1-1
        XADD s 1-2 f 2                    => $3 1-2
        XADD s 1-3 f 3                    => $3 1-3
        XGROUP CREATE s g 0               => +OK
        XREADGROUP GROUP g a COUNT 2 STREAMS s > => *1 *2 $1 s *2 *2 $3 1-1 *2 $1 f $1 1 *2 $3 1-2 *2 $1 f $1 2
        XCLAIM s g b 100000 1-1           => *0
        XCLAIM s g b 0 1-1 9-9            => *1 *2 $3 1-1 *2 $1 f $1 1
        XCLAIM s g b 0 1-3                => *0
        XCLAIM s g b 0 1-3 FORCE JUSTID   => *1 $3 1-3
        XCLAIM s g b 0 1-3 BOGUS          => -ERR Unrecognized XCLAIM option 'BOGUS'
        XCLAIM s g b x 1-3                => -ERR Invalid min-idle-time argument for XCLAIM
        XCLAIM s none b 0 1-3             => -NOGROUP No such key 's' or consumer group 'none'
        XPENDING s g                      => *4 :3 $3 1-1 $3 1-3 *2 *2 $1 a $1 1 *2 $1 b $1 2
        XCLAIM s g b 0 1-1 IDLE 5000 RETRYCOUNT 7 JUSTID => *1 $3 1-1
        XPENDING s g IDLE 5000 - + 9      => *1 *4 $3 1-1 $1 b :5000 :7
        XAUTOCLAIM s g c 1000 0           => *3 $3 0-0 *1 *2 $3 1-1 *2 $1 f $1 1 *0
        XPENDING s g - + 9 c              => *1 *4 $3 1-1 $1 c :0 :8
        XDEL s 1-2                        => :1
        XAUTOCLAIM s g c 0 0 COUNT 1 JUSTID => *3 $3 1-2 *1 $3 1-1 *0
        XAUTOCLAIM s g c 0 (1-1 COUNT 1   => *3 $3 1-3 *0 *1 $3 1-2
        XAUTOCLAIM s g c 0 0 COUNT 0      => -ERR COUNT must be > 0
        XPENDING s g                      => *4 :2 $3 1-1 $3 1-3 *2 *2 $1 b $1 1 *2 $1 c $1 1
        XDEL s 1-3                        => :1
        XCLAIM s g c 0 1-3                => *0
        XPENDING s g                      => *4 :1 $3 1-1 $3 1-1 *1 *2 $1 c $1 1
        "#,
    );
}

#[test]
/// Fails if names of groups and consumers, which may be anything, reach each other's rows.
fn rows_of_groups_lie_apart() {
    let cluster = cluster();
    let names: [&[u8]; 6] = [b"g", b"gg", b"g\xff", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\0", b""];
    let mut input = Vec::new();
    for key in [&b"{t}s"[..], b"{t}ss"] {
        input.extend(encode(&[b"XADD", key, b"1-1", b"f", b"v"]));
        for group in names {
            input.extend(encode(&[b"XGROUP", b"CREATE", key, group, b"0"]));
            for consumer in names {
                input.extend(encode(&[b"XGROUP", b"CREATECONSUMER", key, group, consumer]));
            }
            input.extend(encode(&[b"XREADGROUP", b"GROUP", group, group, b"STREAMS", key, b">"]));
        }
    }
    send(&cluster, &input);
    assert_eq!(run(&cluster, "XREAD STREAMS {t}s 0"), "*1 *2 $4 {t}s *1 *2 $3 1-1 *2 $1 f $1 v");
    for key in ["{t}s", "{t}ss"] {
        let groups = run(&cluster, &format!("XINFO GROUPS {key}"));
        assert!(groups.starts_with("*6 ") && groups.matches("consumers :6 $7 pending :1 ").count() == 6, "{groups}");
        for group in names {
            let reply = send(&cluster, &encode(&[b"XINFO", b"CONSUMERS", key.as_bytes(), group]));
            assert!(reply.starts_with(b"*6\r\n"));
        }
    }
    let reply = text(&send(&cluster, &encode(&[b"XGROUP", b"DELCONSUMER", b"{t}s", b"g", b"g"])));
    assert_eq!(reply, ":1");
    assert_eq!(run(&cluster, "XPENDING {t}s gg"), "*4 :1 $3 1-1 $3 1-1 *1 *2 $2 gg $1 1");
    assert_eq!(run(&cluster, "XPENDING {t}s g"), "*4 :0 $-1 $-1 *-1");
    assert_eq!(run(&cluster, "XGROUP DESTROY {t}s gg\nXGROUP DESTROY {t}s g"), ":1 :1");
    cluster.advance::<Redis>(1000);
    assert!(run(&cluster, "XINFO GROUPS {t}s").starts_with("*4 "));
    assert!(run(&cluster, "XINFO GROUPS {t}ss").starts_with("*6 "));
    run(&cluster, "DEL {t}s {t}ss");
    cluster.advance::<Redis>(1000);
    assert_eq!(rows(&cluster, cluster.owner(b"{t}s")), 0, "nothing is left behind");
}

#[test]
/// Fails if copying or renaming a stream loses entries, groups or what is pending.
fn copies_have_everything() {
    let cluster = cluster();
    run(&cluster, "XADD {s}a 1-1 f v\nXADD {s}a 1-2 f v\nXADD {s}a 1-3 f v\nXDEL {s}a 1-2\nXGROUP CREATE {s}a g 0");
    run(&cluster, "XGROUP CREATE {s}a dead 0\nXREADGROUP GROUP dead c STREAMS {s}a >\nXGROUP DESTROY {s}a dead");
    run(&cluster, "XREADGROUP GROUP g c COUNT 1 STREAMS {s}a >\nEXPIRE {s}a 100");
    let (info, consumers) = (run(&cluster, "XINFO STREAM {s}a FULL"), run(&cluster, "XINFO CONSUMERS {s}a g"));
    assert!(run(&cluster, "MEMORY USAGE {s}a").strip_prefix(':').unwrap().parse::<u64>().unwrap() > 80);
    assert_ne!(cluster.owner(b"s"), cluster.owner(b"elsewhere"));
    let one_group = cluster_of_one_group();
    assert_eq!(
        run(&one_group, "XADD s 1-1 f v\nXGROUP CREATE s g 0\nXREADGROUP GROUP g c STREAMS s >"),
        "$3 1-1 +OK *1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v"
    );
    let elsewhere = run(&one_group, "XINFO STREAM s FULL");
    assert_eq!(run(&one_group, "COPY s elsewhere\nRENAME s third\nEXISTS s"), ":1 +OK :0");
    assert_eq!(run(&one_group, "XINFO STREAM elsewhere FULL"), elsewhere);
    assert_eq!(run(&one_group, "XINFO STREAM third FULL\nXACK third g 1-1"), format!("{elsewhere} :1"));
    check(
        &cluster,
        r#"
        COPY {s}a {s}b    => :1
        TTL {s}b          => :100
        RENAME {s}a {s}c  => +OK
        EXISTS {s}a       => :0
        XACK {s}c g 1-1   => :1
        XADD {s}c 1-4 f v => $3 1-4
        "#,
    );
    assert_eq!(run(&cluster, "XINFO STREAM {s}b FULL"), info);
    assert_eq!(run(&cluster, "XINFO CONSUMERS {s}b g"), consumers);
    assert_eq!(run(&cluster, "XREADGROUP GROUP g c STREAMS {s}b >"), "*1 *2 $4 {s}b *1 *2 $3 1-3 *2 $1 f $1 v");
    run(&cluster, "DEL {s}b {s}c");
    cluster.advance::<Redis>(1000);
    assert_eq!(rows(&cluster, cluster.owner(b"{s}a")), 0);
}

#[test]
/// Fails if the lag of a group is not what Redis says, holes included.
fn lag() {
    let cluster = cluster();
    let lag = || {
        let info = run(&cluster, "XINFO GROUPS s");
        info.split_once("$12 entries-read ").map(|(_, rest)| rest.replace("$3 lag ", "")).unwrap_or_default()
    };
    run(&cluster, "XGROUP CREATE s g $ MKSTREAM");
    assert_eq!(lag(), "$-1 :0");
    for number in 1..=5 {
        run(&cluster, &format!("XADD s {number}-0 f v"));
    }
    assert_eq!(lag(), "$-1 :5");
    run(&cluster, "XREADGROUP GROUP g c COUNT 1 STREAMS s >");
    assert_eq!(lag(), ":1 :4");
    run(&cluster, "XDEL s 3-0");
    assert_eq!(lag(), ":1 $-1");
    run(&cluster, "XREADGROUP GROUP g c COUNT 1 STREAMS s >");
    assert_eq!(lag(), "$-1 $-1");
    run(&cluster, "XREADGROUP GROUP g c STREAMS s >");
    assert_eq!(lag(), ":5 :0");
}

#[test]
/// Fails if the bytes of any row of a stream change: rows on disk outlive this code.
fn the_rows_of_streams_stay_as_they_are() {
    let cluster = FakeCluster::new::<Redis>(1, 1);
    cluster.with_partition(0, |partition| partition.now_us = 0x0102_0303);
    run(&cluster, "XADD s 1-2 f v\nXGROUP CREATE s g 0\nXREADGROUP GROUP g c STREAMS s >");
    cluster.with_partition(0, |partition| {
        let rows: Vec<_> = partition.rows().iter().collect();
        let generation = (0x0102_0304u64 << 11).to_be_bytes();
        let id = [&1u64.to_be_bytes()[..], &2u64.to_be_bytes()].concat();
        let little: Vec<u8> = generation.iter().rev().copied().collect();
        assert_eq!(rows[0].1[..3], *b"\x02\x06\x01");
        assert_eq!(rows[0].1[19..], [&little[..], &id, &id, &[0; 16], b"\x01\x01\x04\x01\x01"].concat());
        let element = |rest: &[u8]| [&b"\x02"[..], &generation, rest].concat();
        let of_group = |rest: &[u8]| element(&[&b"\x02\0\0\0\0\0\0\0\x01"[..], rest].concat());
        let one = 1u64.to_be_bytes();
        let keys = [
            element(&[&b"\0"[..], &id].concat()),
            element(b"\x01g"),
            of_group(b"\0c"),
            of_group(&[&b"\x01"[..], &one].concat()),
            of_group(&[&b"\x02"[..], &id].concat()),
            of_group(&[&b"\x03"[..], &one, &id].concat()),
        ];
        assert_eq!(rows[1..].iter().map(|(key, _)| key.to_vec()).collect::<Vec<_>>(), keys);
        assert_eq!(rows[1].1[..], *b"\x01f\x01v");
        assert_eq!(rows[2].1[..], [&b"\x01"[..], &id, b"\x02\x01\x01\x01"].concat());
        assert_eq!(rows[4].1[..], *b"c");
        // Times of a cluster in memory are milliseconds from its start.
        assert_eq!((rows[5].1[0], rows[5].1[rows[5].1.len() - 1]), (1, 1));
        assert!(rows[6].1.is_empty());
    });
}

#[test]
fn large_streams_answer_in_parts_and_trim_in_steps() {
    let cluster = cluster();
    let value = "x".repeat(1 << 20);
    for number in 1..=12 {
        ask(&cluster, &format!("XADD s {number}-0 f {value}"));
    }
    run(&cluster, "XGROUP CREATE s g 0");
    let count = |command: &str| run(&cluster, command).matches(&value).count();
    // One that is read on gets the rest.
    assert_eq!((count("XREAD STREAMS s 0"), count("XREAD STREAMS s 3-0")), (3, 3));
    assert_eq!(count("XREADGROUP GROUP g c STREAMS s >"), 3);
    assert_eq!(run(&cluster, "XINFO GROUPS s").matches("pending :3").count(), 1);
    assert_eq!(count("XRANGE s - +"), 12);
    for number in 13..=17 {
        ask(&cluster, &format!("XADD s {number}-0 f {value}"));
    }
    assert!(run(&cluster, "XRANGE s - +").starts_with("-ERR the reply would be above"));
}
