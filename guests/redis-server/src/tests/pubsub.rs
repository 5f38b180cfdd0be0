//! Publish and subscribe.

use super::*;

#[test]
fn a_subscriber_is_sent_what_is_published_and_may_leave() {
    let cluster = cluster();
    let output = serve_steps(
        &cluster,
        vec![
            Box::new(|| b"SUBSCRIBE news sport\r\nPING\r\nGET k\r\n".to_vec()),
            Box::new(|| {
                // The connection waits here: what is published now is delivered before anything else is read.
                b"UNSUBSCRIBE sport\r\n".to_vec()
            }),
            Box::new(|| {
                assert_eq!(run(&cluster, "PUBLISH news hello\nPUBLISH sport lost\nPUBLISH news again"), ":0 :0 :0");
                b"PING x\r\n".to_vec()
            }),
            Box::new(|| b"UNSUBSCRIBE\r\nUNSUBSCRIBE\r\nPING\r\nGET k\r\n".to_vec()),
        ],
    );
    let expected = "*3 $9 subscribe $4 news :1 *3 $9 subscribe $5 sport :2 *2 $4 pong $0  \
         -ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context \
         *3 $11 unsubscribe $5 sport :1 \
         *2 $4 pong $1 x \
         *3 $7 message $4 news $5 hello *3 $7 message $4 news $5 again \
         *3 $11 unsubscribe $4 news :0 *3 $11 unsubscribe $-1 :0 +PONG $-1";
    assert_eq!(text(&output), expected);
}

#[test]
fn resp3_pushes_messages_beside_ordinary_commands() {
    let cluster = cluster();
    let output = serve_steps(
        &cluster,
        vec![
            Box::new(|| b"HELLO 3\r\nSUBSCRIBE news\r\nPUBLISH news mine\r\nGET k\r\n".to_vec()),
            Box::new(|| b"RESET\r\nPING\r\n".to_vec()),
        ],
    );
    let output = text(&output);
    let (_, rest) = output.split_once("$7 modules *0 ").unwrap();
    assert_eq!(rest, ">3 $9 subscribe $4 news :1 :0 _ >3 $7 message $4 news $4 mine +RESET +PONG");
}

#[test]
/// Fails if a pattern misses a message, or is sent one that it does not match.
fn patterns_are_sent_what_matches() {
    let cluster = cluster();
    let lease = |partition| cluster.with_partition(partition, |partition| partition.rows().contains_key(&[0x0b][..]));
    let output = serve_steps(
        &cluster,
        vec![
            Box::new(|| b"PSUBSCRIBE n* *w*\r\nSUBSCRIBE news\r\n".to_vec()),
            Box::new(|| {
                assert!((0..13).all(lease), "every partition knows");
                run(&cluster, "PUBLISH news a\nPUBLISH note b\nPUBLISH other c\nFLUSHALL\nPUBLISH show d");
                run(&cluster, "PUBLISH \"\\x00patterns\" \"\\xff\"");
                b"PING x\r\n".to_vec()
            }),
            Box::new(|| b"PUNSUBSCRIBE n*\r\nPUNSUBSCRIBE\r\nUNSUBSCRIBE\r\nPUNSUBSCRIBE\r\nGET k\r\n".to_vec()),
        ],
    );
    assert_eq!(
        text(&output),
        "*3 $10 psubscribe $2 n* :1 *3 $10 psubscribe $3 *w* :2 *3 $9 subscribe $4 news :3 *2 $4 pong $1 x \
         *3 $7 message $4 news $1 a *4 $8 pmessage $2 n* $4 news $1 a *4 $8 pmessage $3 *w* $4 news $1 a \
         *4 $8 pmessage $2 n* $4 note $1 b *4 $8 pmessage $3 *w* $4 show $1 d \
         *3 $12 punsubscribe $2 n* :2 *3 $12 punsubscribe $3 *w* :1 *3 $11 unsubscribe $4 news :0 \
         *3 $12 punsubscribe $-1 :0 $-1"
    );
}

#[test]
fn shard_channels_are_others() {
    let cluster = cluster();
    let output = serve_steps(
        &cluster,
        vec![
            Box::new(|| b"SSUBSCRIBE news sport\r\nSUBSCRIBE news\r\n".to_vec()),
            Box::new(|| {
                run(&cluster, "SPUBLISH news a\nPUBLISH news b\nPUBLISH sport c");
                b"PING x\r\n".to_vec()
            }),
            Box::new(|| b"SUNSUBSCRIBE\r\nRESET\r\nPING\r\n".to_vec()),
        ],
    );
    assert_eq!(
        text(&output),
        "*3 $10 ssubscribe $4 news :1 *3 $10 ssubscribe $5 sport :2 *3 $9 subscribe $4 news :1 \
         *2 $4 pong $1 x *3 $7 message $4 news $1 b *3 $8 smessage $4 news $1 a \
         *3 $12 sunsubscribe $4 news :1 *3 $12 sunsubscribe $5 sport :0 +RESET +PONG"
    );
}

#[test]
fn channels_are_bounded() {
    let cluster = cluster();
    let channels: String = (0..1001).map(|number| format!(" c{number}")).collect();
    let reply = run(&cluster, &format!("SUBSCRIBE{channels}"));
    assert!(reply.ends_with(":1000 -ERR a connection may subscribe to 1000 channels at most"));
    assert_eq!(
        run(&cluster, "MULTI\nSUBSCRIBE c\nEXEC"),
        "+OK -ERR SUBSCRIBE is not supported inside MULTI -EXECABORT Transaction discarded because of previous errors."
    );
}
