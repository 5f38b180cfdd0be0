//! SORT.

use super::*;

#[test]
fn sort_of_each_type() {
    let cluster = cluster();
    check(
        &cluster,
        r#"
        SORT none                    => *0
        RPUSH {t}l 3 1 10 2          => :4
        SORT {t}l                    => *4 $1 1 $1 2 $1 3 $2 10
        SORT {t}l DESC               => *4 $2 10 $1 3 $1 2 $1 1
        SORT {t}l ALPHA              => *4 $1 1 $2 10 $1 2 $1 3
        SORT {t}l LIMIT 1 2          => *2 $1 2 $1 3
        SORT {t}l LIMIT -5 2         => *2 $1 1 $1 2
        SORT {t}l LIMIT 9 2          => *0
        SORT {t}l LIMIT 2 -1         => *2 $1 3 $2 10
        SORT {t}l BY nosort          => *4 $1 3 $1 1 $2 10 $1 2
        SORT {t}l BY                 => -ERR syntax error
        SORT_RO {t}l DESC LIMIT 0 1  => *1 $2 10
        SORT_RO {t}l STORE {t}x      => -ERR syntax error
        MSET {t}w1 30 {t}w2 20 {t}w3 10 {t}o1 one {t}o3 three => +OK
        HSET {t}h1 w 5 n first       => :2
        SORT {t}l BY {t}w*           => *4 $2 10 $1 3 $1 2 $1 1
        SORT {t}l BY {t}w* GET # GET {t}o* => *8 $2 10 $-1 $1 3 $5 three $1 2 $-1 $1 1 $3 one
        SORT {t}l BY {t}h*->w DESC GET {t}h*->n LIMIT 0 1 => *1 $5 first
        SORT {t}l GET nostar LIMIT 0 1 => *1 $-1
        SORT {t}l BY w*              => -CROSSSLOT Keys in request don't hash to the same slot: BY and GET would look up 'w3', which has not the hash tag of the sorted key; name both with one, as in {user1}:list and {user1}:weight_*
        SORT {t}l STORE {t}d         => :4
        LRANGE {t}d 0 -1             => *4 $1 1 $1 2 $1 3 $2 10
        SORT {t}l GET {t}o* STORE {t}d => :4
        LRANGE {t}d 0 -1             => *4 $3 one $0  $5 three $0
        SORT {t}none STORE {t}d      => :0
        EXISTS {t}d                  => :0
        SORT {t}l STORE other        => -CROSSSLOT Keys in request don't hash to the same slot: name the keys of SORT with one hash tag, as in {user1}:a and {user1}:b
        RPUSH {t}l x                 => :5
        SORT {t}l                    => -ERR One or more scores can't be converted into double
        ZADD {t}z 1 b 2 a 3 c        => :3
        SORT {t}z ALPHA              => *3 $1 a $1 b $1 c
        SORT {t}z BY nosort DESC     => *3 $1 c $1 a $1 b
        SADD {t}s c a b              => :3
        SORT {t}s BY nosort STORE {t}d => :3
        LRANGE {t}d 0 -1             => *3 $1 a $1 b $1 c
        SORT {t}h1                   => -WRONGTYPE Operation against a key holding the wrong kind of value
        COMMAND GETKEYS SORT a STORE b => *2 $1 a $1 b
        "#,
    );
    assert_eq!(
        run(&cluster, "MULTI\nRPUSH {t}q 2 1\nSORT {t}q STORE {t}p\nLRANGE {t}p 0 -1\nEXEC"),
        "+OK +QUEUED +QUEUED +QUEUED *3 :2 :2 *2 $1 1 $1 2"
    );
}
