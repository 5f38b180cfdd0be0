//! Strings, counters, and keys of any type.

use super::*;

#[test]
fn set_and_get_with_every_option() {
    let cluster = cluster();
    check(
        &cluster,
        r#"
        SET k v                     => +OK
        GET k                       => $1 v
        GET absent                  => $-1
        SET k w NX                  => $-1
        SET absent w XX             => $-1
        SET k w XX GET              => $1 v
        SET k x NX GET              => $1 w
        SET fresh x NX GET          => $-1
        GET fresh                   => $1 x
        SET k x EX 10               => +OK
        TTL k                       => :10
        SET k y KEEPTTL             => +OK
        TTL k                       => :10
        SET k z                     => +OK
        TTL k                       => :-1
        SET k v px 1500             => +OK
        PTTL k                      => :1500
        SET k v EXAT 4000000000     => +OK
        EXPIRETIME k                => :4000000000
        SET k v PXAT 4000000000123  => +OK
        PEXPIRETIME k               => :4000000000123
        SET k v EX 0                => -ERR invalid expire time in 'set' command
        SET k v EX -1               => -ERR invalid expire time in 'set' command
        SET k v EX 9223372036854775807 => -ERR invalid expire time in 'set' command
        SET k v EX x                => -ERR value is not an integer or out of range
        SET k v EX                  => -ERR syntax error
        SET k v NX XX               => -ERR syntax error
        SET k v EX 1 PX 1           => -ERR syntax error
        SET k v EX 1 KEEPTTL        => -ERR syntax error
        SET k v NONSENSE            => -ERR syntax error
        SET "" ""                   => +OK
        GET ""                      => $0
        EXISTS ""                   => :1
        "#,
    );
}

#[test]
fn the_other_ways_to_write_and_read_a_string() {
    check(
        &cluster(),
        r#"
        SETNX a 1                   => :1
        SETNX a 2                   => :0
        SETEX e 10 v                => +OK
        TTL e                       => :10
        SETEX e 0 v                 => -ERR invalid expire time in 'setex' command
        PSETEX e -5 v               => -ERR invalid expire time in 'psetex' command
        PSETEX e 2500 v             => +OK
        PTTL e                      => :2500
        GETSET e w                  => $1 v
        TTL e                       => :-1
        GETSET g v                  => $-1
        GETDEL g                    => $1 v
        GETDEL g                    => $-1
        GETEX a EX 100              => $1 1
        TTL a                       => :100
        GETEX a                     => $1 1
        TTL a                       => :100
        GETEX a PERSIST             => $1 1
        TTL a                       => :-1
        GETEX a EX 1 PERSIST        => -ERR syntax error
        GETEX a EX 0                => -ERR invalid expire time in 'getex' command
        GETEX nope EX 10            => $-1
        APPEND s Hello              => :5
        APPEND s " World"           => :11
        STRLEN s                    => :11
        STRLEN nope                 => :0
        GETRANGE s 0 3              => $4 Hell
        GETRANGE s -3 -1            => $3 rld
        GETRANGE s 0 -1             => $11 Hello World
        GETRANGE s 10 100           => $1 d
        GETRANGE s 5 3              => $0
        GETRANGE s -1 -5            => $0
        GETRANGE s -100 -50         => $1 H
        GETRANGE nope 0 -1          => $0
        SUBSTR s 0 1                => $2 He
        SETRANGE s 6 Redis          => :11
        GET s                       => $11 Hello Redis
        SETRANGE s 20 ""            => :11
        SETRANGE s -1 x             => -ERR offset is out of range
        SETRANGE s 9000000 x        => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SETRANGE pad 2 x            => :3
        GETRANGE pad 2 2            => $1 x
        SETRANGE none 5 ""          => :0
        EXISTS none                 => :0
        "#,
    );
}

#[test]
fn counters_count_exactly_and_say_when_they_cannot() {
    check(
        &cluster(),
        r#"
        INCR n                      => :1
        INCRBY n 41                 => :42
        DECR n                      => :41
        DECRBY n 50                 => :-9
        INCRBY n x                  => -ERR value is not an integer or out of range
        SET n 9223372036854775807   => +OK
        INCR n                      => -ERR increment or decrement would overflow
        DECRBY n -9223372036854775808 => -ERR decrement would overflow
        GET n                       => $19 9223372036854775807
        SET n " 1"                  => +OK
        INCR n                      => -ERR value is not an integer or out of range
        SET n 10 EX 100             => +OK
        INCR n                      => :11
        TTL n                       => :100
        SET f 10.50                 => +OK
        INCRBYFLOAT f 0.1           => $4 10.6
        INCRBYFLOAT f -5            => $3 5.6
        INCRBYFLOAT f x             => -ERR value is not a valid float
        INCRBYFLOAT f inf           => -ERR increment would produce NaN or Infinity
        INCRBYFLOAT new 3.0e3       => $4 3000
        "#,
    );
}

#[test]
fn commands_on_many_keys_find_each_on_its_partition() {
    check(
        &cluster(),
        r#"
        MSET a 1 b 2 c 3 d 4        => +OK
        MSET a 1 b                  => -ERR wrong number of arguments for 'mset' command
        MGET a b nope c d           => *5 $1 1 $1 2 $-1 $1 3 $1 4
        EXISTS a a b nope           => :3
        TOUCH a b nope              => :2
        DEL a nope b                => :2
        UNLINK c a                  => :1
        MGET a b c d                => *4 $-1 $-1 $-1 $1 4
        TYPE d                      => +string
        TYPE a                      => +none
        OBJECT ENCODING d           => $3 int
        SET e hello                 => +OK
        OBJECT ENCODING e           => $6 embstr
        OBJECT REFCOUNT e           => :1
        OBJECT ENCODING nope        => $-1
        OBJECT ENCODING             => -ERR wrong number of arguments for 'object|encoding' command
        OBJECT NONSENSE e           => -ERR unknown subcommand 'NONSENSE'. Try OBJECT HELP.
        "#,
    );
}

#[test]
fn one_group_makes_msetnx_rename_and_copy_work_between_partitions() {
    let cluster = cluster_of_one_group();
    assert_ne!(cluster.owner(b"a"), cluster.owner(b"b"), "the test means different partitions");
    check(
        &cluster,
        r#"
        MSETNX a 1 b 2 c 3          => :1
        MSETNX x 1 y 2 b 3          => :0
        EXISTS x y                  => :0
        SET a one EX 100            => +OK
        RENAME a b                  => +OK
        GET b                       => $3 one
        TTL b                       => :100
        EXISTS a                    => :0
        RENAME a b                  => -ERR no such key
        RENAMENX b c                => :0
        RENAMENX b a                => :1
        RENAMENX b a                => -ERR no such key
        GET a                       => $3 one
        COPY a b                    => :1
        COPY a b                    => :0
        COPY c b REPLACE            => :1
        GET b                       => $1 3
        COPY nope b                 => :0
        COPY a z DB 16              => -ERR DB index is out of range
        COPY a z NONSENSE           => -ERR syntax error
        TTL a                       => :100
        "#,
    );
}

#[test]
fn one_partition_makes_them_work_anywhere() {
    check(
        &cluster(),
        r#"
        MSETNX {t}a 1 {t}b 2        => :1
        MSETNX {t}c 1 {t}b 2        => :0
        MSETNX {t}c 1 {t}b          => -ERR wrong number of arguments for 'msetnx' command
        EXISTS {t}c                 => :0
        RENAME {t}a {t}b            => +OK
        GET {t}b                    => $1 1
        RENAME {t}b {t}b            => +OK
        RENAMENX {t}b {t}b          => :0
        RENAME {t}nope {t}b         => -ERR no such key
        RENAMENX {t}b {t}c          => :1
        COPY {t}c {t}d              => :1
        COPY {t}c {t}d              => :0
        COPY {t}c {t}d REPLACE      => :1
        COPY {t}c {t}c              => -ERR source and destination objects are the same
        MGET {t}a {t}b {t}c {t}d    => *4 $-1 $-1 $1 1 $1 1
        "#,
    );
}

#[test]
fn between_groups_mset_works_and_what_would_lose_its_meaning_says_crossslot() {
    let cluster = cluster();
    let in_group = |prefix: &str, group| {
        (0..100).find(|number| cluster.owner(format!("{prefix}{number}").as_bytes()) % 3 == group).expect("such a key")
    };
    let (a, b): (i32, i32) = (in_group("a", 0), in_group("b", 1));
    assert_eq!(run(&cluster, &format!("MSET a{a} 1 b{b} 2\nMGET a{a} b{b}")), "+OK *2 $1 1 $1 2");
    for command in ["MSETNX {} 1 {} 2", "RENAME {} {}", "RENAMENX {} {}x{t}", "COPY {} {} REPLACE"] {
        let command =
            command.replacen("{}", &format!("a{a}"), 1).replacen("{}", &format!("b{b}"), 1).replace("x{t}", "");
        let reply = run(&cluster, &command);
        assert!(reply.starts_with("-CROSSSLOT ") && reply.contains("{user1}"), "{command}: {reply}");
    }
    assert_eq!(run(&cluster, &format!("MGET a{a} b{b}")), "*2 $1 1 $1 2");
}

#[test]
fn binary_keys_and_values_pass_unchanged() {
    let cluster = cluster();
    let key: Vec<u8> = (0..=255).collect();
    let value: Vec<u8> = (0..=255).rev().cycle().take(100_000).collect();
    let input = [encode(&[b"SET", &key, &value]), encode(&[b"GET", &key])].concat();
    let expected = [&b"+OK\r\n$100000\r\n"[..], &value, b"\r\n"].concat();
    assert!(send(&cluster, &input) == expected);
}

#[test]
fn a_string_may_have_8_mib_less_a_header() {
    use crate::keyspace::STRING_BYTES_MAX;
    let cluster = cluster();
    let value = vec![b'v'; STRING_BYTES_MAX + 1];
    let set = |length: usize| encode(&[b"SET", b"k", &value[..length]]);
    assert_eq!(text(&send(&cluster, &set(STRING_BYTES_MAX))), "+OK");
    let too_long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    assert_eq!(text(&send(&cluster, &set(STRING_BYTES_MAX + 1))), too_long);
    check(&cluster, &format!("APPEND k x => {too_long}\nSTRLEN k => :{STRING_BYTES_MAX}"));
    let pairs = encode(&[b"MSET", b"a", b"1", b"{a}b", &value]);
    assert_eq!(text(&send(&cluster, &pairs)), too_long);
    assert_eq!(run(&cluster, "EXISTS a {a}b"), ":0", "a refused MSET has written nothing on that partition");
}
