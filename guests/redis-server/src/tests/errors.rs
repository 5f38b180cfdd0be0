//! What is wrong, in Redis' own words; and what clients ask on connecting.

use super::*;

#[test]
fn mistakes_are_named_as_redis_names_them() {
    check(
        &cluster(),
        r#"
        GET                         => -ERR wrong number of arguments for 'get' command
        GET a b                     => -ERR wrong number of arguments for 'get' command
        ping a b                    => -ERR wrong number of arguments for 'ping' command
        FOO                         => -ERR unknown command 'FOO', with args beginning with:
        foo bar 'b z'               => -ERR unknown command 'foo', with args beginning with: 'bar' 'b z'
        SELECT 16                   => -ERR DB index is out of range
        SELECT x                    => -ERR value is not an integer or out of range
        SELECT 0                    => +OK
        AUTH pw                     => -ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?
        AUTH default pw             => +OK
        AUTH joe pw                 => -WRONGPASS invalid username-password pair or user is disabled.
        HELLO 4                     => -NOPROTO unsupported protocol version
        HELLO x                     => -ERR Protocol version is not an integer or out of range
        HELLO 3 AUTH joe pw         => -WRONGPASS invalid username-password pair or user is disabled.
        HELLO 3 NONSENSE            => -ERR Syntax error in HELLO option 'NONSENSE'
        CLIENT NONSENSE             => -ERR unknown subcommand 'NONSENSE'. Try CLIENT HELP.
        CLIENT SETNAME              => -ERR wrong number of arguments for 'client|setname' command
        CLIENT SETNAME "a b"        => -ERR Client names cannot contain spaces, newlines or special characters.
        CLIENT NO-EVICT maybe       => -ERR syntax error
        CONFIG NONSENSE             => -ERR unknown subcommand 'NONSENSE'. Try CONFIG HELP.
        CONFIG GET                  => -ERR wrong number of arguments for 'config|get' command
        COMMAND NONSENSE            => -ERR unknown subcommand 'NONSENSE'. Try COMMAND HELP.
        "#,
    );
}

#[test]
fn a_protocol_error_is_answered_and_ends_the_connection() {
    let cluster = cluster();
    let output = send(&cluster, b"*1\r\n$4\r\nPING\r\n*1\r\n!oops\r\nPING\r\n");
    assert_eq!(text(&output), "+PONG -ERR Protocol error: expected '$', got '!'");
}

#[test]
fn clients_are_greeted_in_both_protocols() {
    let cluster = cluster();
    let reply = run(
        &cluster,
        "HELLO\nGET nope\nHELLO 3 SETNAME me\nGET nope\nCLIENT GETNAME\nCONFIG GET save\nHELLO 2\nGET nope",
    );
    let id = reply.split(' ').nth(14).unwrap();
    assert_eq!(
        reply.replace(id, ":ID").replace("  ", " "),
        "*14 $6 server $5 redis $7 version $5 7.2.0 $5 proto :2 $2 id :ID $4 mode $10 standalone $4 role $6 master $7 modules *0 $-1 \
         %7 $6 server $5 redis $7 version $5 7.2.0 $5 proto :3 $2 id :ID $4 mode $10 standalone $4 role $6 master $7 modules *0 _ \
         $2 me %1 $4 save $0 \
         *14 $6 server $5 redis $7 version $5 7.2.0 $5 proto :2 $2 id :ID $4 mode $10 standalone $4 role $6 master $7 modules *0 $-1"
    );
}

#[test]
fn what_clients_ask_on_connecting_is_answered() {
    let cluster = cluster();
    check_session(
        &cluster,
        r#"
        CLIENT SETINFO LIB-NAME redis-py => +OK
        CLIENT SETINFO LIB-VER 5.0.1 => +OK
        CLIENT SETNAME worker       => +OK
        CLIENT GETNAME              => $6 worker
        CLIENT NO-EVICT on          => +OK
        CONFIG GET appendonly       => *2 $10 appendonly $3 yes
        CONFIG GET save             => *2 $4 save $0
        CONFIG GET nothing          => *0
        CONFIG RESETSTAT            => +OK
        COMMAND GETKEYS MSET a 1 b 2 => *2 $1 a $1 b
        COMMAND INFO nope           => *1 $-1
        COMMAND INFO get            => *1 *10 $3 get :2 *2 +readonly +fast :1 :1 :1 *3 +@read +@string +@fast *0 *0 *0
        "#,
    );
    assert!(run(&cluster, "CLIENT SETNAME me\nCLIENT LIST").contains("name=me "));
    assert!(run(&cluster, "CONFIG SET maxmemory 1").starts_with("-ERR CONFIG SET failed"));
    let count = crate::command::COMMANDS.len();
    assert_eq!(run(&cluster, "COMMAND COUNT"), format!(":{count}"));
    assert!(run(&cluster, "COMMAND").starts_with(&format!("*{count} *10 $3 acl :-2 ")));
    assert!(run(&cluster, "COMMAND DOCS").starts_with(&format!("*{} $3 acl *6 $7 summary ", 2 * count)));
    assert!(run(&cluster, "COMMAND DOCS get").starts_with("*2 $3 get *6 "));
    let info = run(&cluster, "INFO");
    for line in ["# Server redis_version:7.2.0 ", "# Clients ", "# Replication role:master ", "# Keyspace"] {
        assert!(info.contains(line), "{line} in {info}");
    }
    assert!(!run(&cluster, "INFO server").contains("Replication"));
    assert!(run(&cluster, "TIME").starts_with("*2 $10 1"));
}
