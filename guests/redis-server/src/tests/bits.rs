//! Bitmaps, LCS, HyperLogLog.

use super::*;

#[test]
fn bitmaps_as_redis_documents_them() {
    check(
        &cluster(),
        r#"
        SETBIT b 7 1                => :0
        SETBIT b 7 0                => :1
        SETBIT b 7 1                => :0
        GETBIT b 7                  => :1
        GETBIT b 100                => :0
        GETBIT nope 1               => :0
        STRLEN b                    => :1
        SETBIT b -1 1               => -ERR bit offset is not an integer or out of range
        SETBIT b 99999999999 1      => -ERR bit offset is not an integer or out of range
        SETBIT b 1 2                => -ERR bit is not an integer or out of range
        SET t foobar                => +OK
        BITCOUNT t                  => :26
        BITCOUNT t 0 0              => :4
        BITCOUNT t 1 1              => :6
        BITCOUNT t -1 -1            => :4
        BITCOUNT t -200 -100        => :4
        BITCOUNT t -100 -200        => :0
        BITCOUNT t 5 30 BIT         => :17
        BITCOUNT t 0 -1 BYTE        => :26
        BITCOUNT t 0                => -ERR syntax error
        BITCOUNT t 0 -1 BYTE x      => -ERR syntax error
        BITCOUNT nope               => :0
        SET p "\xff\xf0\x00"        => +OK
        BITPOS p 0                  => :12
        BITPOS p 1                  => :0
        BITPOS p 1 2                => :-1
        BITPOS p 0 2                => :16
        BITPOS p 1 7 15 BIT         => :7
        BITPOS p 2                  => -ERR The bit argument must be 1 or 0.
        BITPOS nope 1               => :-1
        BITPOS nope 0               => :0
        SET f "\xff\xff"            => +OK
        BITPOS f 0                  => :16
        BITPOS f 0 0 -1             => :-1
        SET {o}a abc                => +OK
        SET {o}b ab                 => +OK
        BITOP AND {o}c {o}a {o}b    => :3
        GETRANGE {o}c 0 1           => $2 ab
        BITOP OR {o}c {o}a {o}b     => :3
        GET {o}c                    => $3 abc
        BITOP XOR {o}c {o}a {o}a    => :3
        BITCOUNT {o}c               => :0
        BITOP NOT {o}c {o}a {o}b    => -ERR BITOP NOT must be called with a single source key.
        BITOP NAND {o}c {o}a        => -ERR syntax error
        BITOP AND {o}c {o}nope      => :0
        EXISTS {o}c                 => :0
        "#,
    );
}

#[test]
fn bitfields_as_redis_documents_them() {
    check(
        &cluster(),
        r#"
        SET x X                     => +OK
        BITFIELD x GET u7 0         => *1 :44
        BITFIELD_RO x GET u8 0      => *1 :88
        BITFIELD_RO x SET u8 0 1    => -ERR BITFIELD_RO only supports the GET subcommand
        BITFIELD k INCRBY i5 100 1 GET u4 0 => *2 :1 :0
        STRLEN k                    => :14
        BITFIELD o INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1 => *2 :1 :1
        BITFIELD o INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1 => *2 :2 :2
        BITFIELD o INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1 => *2 :3 :3
        BITFIELD o INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1 => *2 :0 :3
        BITFIELD o OVERFLOW FAIL INCRBY u2 102 1 => *1 $-1
        BITFIELD s SET i8 #1 -2     => *1 :0
        BITFIELD s GET i8 8 GET u8 #1 => *2 :-2 :254
        BITFIELD s SET u8 0 -1      => *1 :0
        BITFIELD s GET u8 0         => *1 :255
        BITFIELD s OVERFLOW SAT INCRBY i64 0 9223372036854775807 => *1 :9222809086901354495
        BITFIELD s GET u64 0        => -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
        BITFIELD s GET i0 0         => -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
        BITFIELD s GET u8 -1        => -ERR bit offset is not an integer or out of range
        BITFIELD s OVERFLOW X       => -ERR Invalid OVERFLOW type specified
        BITFIELD s SET u8 0 x       => -ERR value is not an integer or out of range
        BITFIELD s NONSENSE         => -ERR syntax error
        BITFIELD nope GET u8 0      => *1 :0
        EXISTS nope                 => :0
        "#,
    );
}

#[test]
fn longest_common_subsequences() {
    check(
        &cluster(),
        r#"
        MSET {l}a ohmytext {l}b mynewtext => +OK
        LCS {l}a {l}b               => $6 mytext
        LCS {l}a {l}b LEN           => :6
        LCS {l}a {l}b IDX           => *4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6
        LCS {l}a {l}b IDX MINMATCHLEN 4 WITHMATCHLEN => *4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6
        LCS {l}a {l}b IDX LEN       => -ERR If you want both the length and indexes, please just use IDX.
        LCS {l}a {l}b NONSENSE      => -ERR syntax error
        LCS {l}a {l}nope            => $0
        SADD {l}s m                 => :1
        LCS {l}a {l}s               => -ERR The specified keys must contain string values
        "#,
    );
}

#[test]
/// Fails if an estimate is off by more than the algorithm's error, or a sketch does not survive its own format.
fn sketches_count_about_right_in_both_encodings() {
    let cluster = FakeCluster::new::<Redis>(1, 1);
    check(
        &cluster,
        r#"
        PFADD nothing               => :1
        PFADD nothing               => :0
        PFCOUNT nothing             => :0
        PFCOUNT nope                => :0
        PFADD few a b c d e f g     => :1
        PFADD few a b               => :0
        PFCOUNT few                 => :7
        SET text hello              => +OK
        PFADD text a                => -WRONGTYPE Key is not a valid HyperLogLog string value.
        SET bad HYLL\x01aaaaaaaaaaaaaaaaa => +OK
        PFMERGE all                 => +OK
        PFCOUNT all                 => :0
        "#,
    );
    send(&cluster, &encode(&[b"SET", b"bad", b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x41"]));
    assert_eq!(run(&cluster, "PFCOUNT bad"), "-INVALIDOBJ Corrupted HLL object detected");
    let mut before = 0;
    for (key, count) in [("a", 100), ("b", 2_000), ("c", 50_000)] {
        for batch in (0..count).collect::<Vec<u32>>().chunks(500) {
            let elements: String = batch.iter().map(|number| format!(" {key}{number}")).collect();
            ask(&cluster, &format!("PFADD {key}{elements}"));
        }
        let estimate: i64 = run(&cluster, &format!("PFCOUNT {key}")).trim_start_matches(':').parse().unwrap();
        assert!((estimate - i64::from(count)).abs() * 33 < i64::from(count) + 33, "{estimate} of {count}");
        before += i64::from(count);
    }
    let all: i64 = run(&cluster, "PFCOUNT a b c").trim_start_matches(':').parse().unwrap();
    assert!((all - before).abs() * 33 < before);
    assert_eq!(
        run(&cluster, "PFMERGE all a b c\nPFCOUNT all\nSTRLEN all\nSTRLEN c"),
        format!("+OK :{all} :12304 :12304")
    );
    let length = |key: &str| run(&cluster, &format!("STRLEN {key}")).trim_start_matches(':').parse::<u32>().unwrap();
    assert!(length("a") < 400, "a small one is sparse: {}", length("a"));
}
