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
fn patterns_are_refused_and_channels_are_bounded() {
    let cluster = cluster();
    assert_eq!(
        run(&cluster, "PSUBSCRIBE n*\nPUNSUBSCRIBE"),
        "-ERR PSUBSCRIBE is not supported: subscribe to channels by their names *3 $12 punsubscribe $-1 :0"
    );
    let channels: String = (0..1001).map(|number| format!(" c{number}")).collect();
    let reply = run(&cluster, &format!("SUBSCRIBE{channels}"));
    assert!(reply.ends_with(":1000 -ERR a connection may subscribe to 1000 channels at most"));
    assert_eq!(
        run(&cluster, "MULTI\nSUBSCRIBE c\nEXEC"),
        "+OK -ERR SUBSCRIBE is not supported inside MULTI -EXECABORT Transaction discarded because of previous errors."
    );
}
