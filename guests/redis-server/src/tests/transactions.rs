//! MULTI and WATCH.

use super::*;

#[test]
fn a_transaction_answers_all_replies_in_order() {
    for cluster in [cluster(), cluster_of_one_group()] {
        check_session(
            &cluster,
            r#"
            MULTI                   => +OK
            SET {t}a 1              => +QUEUED
            INCR {t}a               => +QUEUED
            PING                    => +QUEUED
            NOSUCH                  => -ERR unknown command 'NOSUCH', with args beginning with:
            EXEC                    => -EXECABORT Transaction discarded because of previous errors.
            GET {t}a                => $-1
            MULTI                   => +OK
            SET {t}a 1              => +QUEUED
            INCR {t}a               => +QUEUED
            ECHO hello              => +QUEUED
            MGET {t}a {t}b          => +QUEUED
            INCR {t}a               => +QUEUED
            SET {t}b x              => +QUEUED
            INCR {t}b               => +QUEUED
            DEL {t}a {t}b           => +QUEUED
            SELECT 0                => +QUEUED
            UNWATCH                 => +QUEUED
            EXEC                    => *10 +OK :2 $5 hello *2 $1 2 $-1 :3 +OK -ERR value is not an integer or out of range :2 +OK +OK
            EXEC                    => -ERR EXEC without MULTI
            DISCARD                 => -ERR DISCARD without MULTI
            MULTI                   => +OK
            MULTI                   => -ERR MULTI calls can not be nested
            WATCH a                 => -ERR WATCH inside MULTI is not allowed
            EXEC                    => *0
            MULTI                   => +OK
            SET {t}a 5              => +QUEUED
            DISCARD                 => +OK
            EXISTS {t}a             => :0
            MULTI                   => +OK
            GET                     => -ERR wrong number of arguments for 'get' command
            EXEC                    => -EXECABORT Transaction discarded because of previous errors.
            MULTI                   => +OK
            DBSIZE                  => -ERR DBSIZE is not supported inside MULTI
            EXEC                    => -EXECABORT Transaction discarded because of previous errors.
            MULTI                   => +OK
            MSETNX {t}a 1 {t}b 2    => +QUEUED
            RENAME {t}a {t}c        => +QUEUED
            COPY {t}c {t}d          => +QUEUED
            MSET {t}e 1 {t}f        => +QUEUED
            EXEC                    => *4 :1 +OK :1 -ERR wrong number of arguments for 'mset' command
            DEL {t}a {t}b {t}c {t}d => :3
            MULTI                   => +OK
            MSETNX {t}a 1 {t}b 2    => +QUEUED
            RENAME {t}a {t}c        => +QUEUED
            COPY {t}c {t}d          => +QUEUED
            PUBLISH {t} hello       => +QUEUED
            EXEC                    => *4 :1 +OK :1 :0
            MGET {t}a {t}b {t}c {t}d => *4 $-1 $1 2 $1 1 $1 1
            "#,
        );
    }
}

#[test]
fn several_partitions_of_one_group_are_one_transaction() {
    check_session(
        &cluster_of_one_group(),
        r#"
        MULTI                       => +OK
        MSET a 1 b 2 c 3            => +QUEUED
        INCR a                      => +QUEUED
        MGET a b c d                => +QUEUED
        DEL b c d                   => +QUEUED
        EXEC                        => *4 +OK :2 *4 $1 2 $1 2 $1 3 $-1 :2
        MULTI                       => +OK
        RENAME a b                  => +QUEUED
        EXEC                        => -CROSSSLOT Keys in request don't hash to the same slot: inside MULTI, name the keys of RENAME with one hash tag, as in {user1}:a and {user1}:b
        GET a                       => $1 2
        "#,
    );
}

#[test]
fn several_groups_are_refused_with_advice_and_nothing_is_written() {
    let cluster = cluster();
    let sets: String = (0..20).map(|number| format!("SET key:{number} v\n")).collect();
    let reply = run(&cluster, &format!("MULTI\n{sets}EXEC\nDBSIZE"));
    let reply = reply.rsplit_once("QUEUED ").unwrap().1;
    assert!(reply.starts_with("-CROSSSLOT ") && reply.contains("{user1}:a") && reply.ends_with(":0"), "{reply}");
}

#[test]
fn exec_answers_nothing_when_a_watched_key_has_changed() {
    for (change, exec) in [
        ("SET w 2", "*-1"),
        ("INCR w", "*-1"),
        ("DEL w", "*-1"),
        ("EXPIRE w 100", "*-1"),
        ("FLUSHALL", "*-1"),
        ("SET w 1", "*-1"),
        ("GET w", "*2 +OK $1 2"),
        ("SET other 2", "*2 +OK $1 2"),
        ("SETNX w 2", "*2 +OK $1 2"),
    ] {
        let cluster = cluster_of_one_group();
        run(&cluster, "SET w 1");
        let output = serve_steps(
            &cluster,
            vec![
                Box::new(|| b"WATCH w absent\r\nGET w\r\nMULTI\r\n".to_vec()),
                Box::new(|| {
                    run(&cluster, change);
                    b"SET w 2\r\nGET w\r\nEXEC\r\n".to_vec()
                }),
            ],
        );
        assert_eq!(text(&output), format!("+OK $1 1 +OK +QUEUED +QUEUED {exec}"), "{change}");
    }
}

#[test]
fn watching_an_absent_key_and_watching_elsewhere() {
    let cluster = cluster_of_one_group();
    assert_ne!(cluster.owner(b"a"), cluster.owner(b"b"));
    let watch = |watching: &'static str, change: &'static str| {
        let cluster = &cluster;
        run(cluster, "DEL a b");
        let output = serve_steps(
            cluster,
            vec![
                Box::new(move || format!("{watching}\r\nMULTI\r\nSET b 1\r\n").into_bytes()),
                Box::new(move || {
                    run(cluster, change);
                    b"EXEC\r\nMULTI\r\nEXEC\r\n".to_vec()
                }),
            ],
        );
        text(&output).split_once("+QUEUED ").unwrap().1.to_owned()
    };
    assert_eq!(watch("WATCH a", "SET a 1"), "*-1 +OK *0");
    assert_eq!(watch("WATCH a", "SET c 1"), "*1 +OK +OK *0");
    assert_eq!(watch("WATCH a b", "SET b 1"), "*-1 +OK *0");
    assert_eq!(watch("HELLO 3\r\nWATCH a", "SET a 1"), "_ +OK *0");
    // UNWATCH and a transaction that ended forget.
    assert_eq!(watch("WATCH a\r\nUNWATCH", "SET a 1"), "*1 +OK +OK *0");
    assert_eq!(watch("WATCH a\r\nMULTI\r\nDISCARD", "SET a 1"), "*1 +OK +OK *0");
    // Watched keys alone are checked too.
    let output = serve_steps(
        &cluster,
        vec![
            Box::new(|| b"WATCH a\r\nMULTI\r\n".to_vec()),
            Box::new(|| {
                run(&cluster, "APPEND a x");
                b"EXEC\r\n".to_vec()
            }),
        ],
    );
    assert_eq!(text(&output), "+OK +OK *-1");
}

#[test]
fn what_multi_queues_is_bounded() {
    let cluster = cluster();
    let value = vec![b'v'; 5 << 20];
    let mut input = encode(&[b"MULTI"]);
    (0..3).for_each(|_| input.extend(encode(&[b"SET", b"k", &value])));
    input.extend(encode(&[b"EXEC"]));
    let output = text(&send(&cluster, &input));
    assert!(output.contains("+QUEUED +QUEUED -ERR the commands of a transaction may come to"), "{output}");
    assert!(output.ends_with("-EXECABORT Transaction discarded because of previous errors."));
}
