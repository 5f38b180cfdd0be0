//! What tools, test suites and operators ask.

use super::*;

#[test]
fn commands_for_operators_answer_for_what_this_server_is() {
    let cluster = cluster();
    check(
        &cluster,
        r#"
        SLOWLOG GET                  => *0
        SLOWLOG GET 5                => *0
        SLOWLOG GET -2               => -ERR count should be greater than or equal to -1
        SLOWLOG LEN                  => :0
        SLOWLOG RESET                => +OK
        SLOWLOG FOO                  => -ERR unknown subcommand 'FOO'. Try SLOWLOG HELP.
        SLOWLOG LEN x                => -ERR wrong number of arguments for 'slowlog|len' command
        LATENCY LATEST               => *0
        LATENCY RESET                => :0
        LATENCY HISTORY x            => *0
        LATENCY HISTOGRAM            => *0
        LATENCY GRAPH x              => -ERR No samples available for event 'x'
        WAIT 1 100                   => :0
        WAIT x 0                     => -ERR value is not an integer or out of range
        WAIT 0 -1                    => -ERR timeout is negative
        WAITAOF 1 0 100              => *2 :1 :0
        WAITAOF 2 0 100              => -ERR value is out of range, value must between 0 and 1
        ROLE                         => *3 $6 master :0 *0
        ACL WHOAMI                   => $7 default
        CLUSTER KEYSLOT foo          => :12182
        CLUSTER KEYSLOT {foo}bar     => :12182
        CLUSTER SLOTS                => -ERR This instance has cluster support disabled
        PUBSUB NUMSUB a              => -ERR PUBSUB NUMSUB is not supported: nobody counts subscribers over the nodes of a cluster
        DEBUG RELOAD                 => +OK
        DEBUG SET-ACTIVE-EXPIRE 1    => +OK
        DEBUG SET-ACTIVE-EXPIRE 0    => -ERR keys are removed by timers when their time comes, which cannot be turned off
        DEBUG STRINGMATCH-LEN 1000000 a******************** => :1
        DEBUG JMAP                   => -ERR DEBUG subcommand 'JMAP' is not supported, or has the wrong number of arguments. Try DEBUG HELP.
        DEBUG SLEEP 0                => +OK
        DEBUG SLEEP x                => -ERR value is not a valid float
        SET a v                      => +OK
        SET a v EX 0 BOGUS           => -ERR syntax error
        SET a v EX 0                 => -ERR invalid expire time in 'set' command
        OBJECT FREQ nope             => $-1
        OBJECT IDLETIME a            => :0
        MEMORY PURGE                 => +OK
        CONFIG SET save ""           => +OK
        CONFIG SET maxmemory 0 hash-max-listpack-entries 512 => +OK
        CONFIG SET maxmemory 0 maxmemory 0 => -ERR CONFIG SET failed (possibly related to argument 'maxmemory') - duplicate parameter
        CONFIG SET foo bar           => -ERR Unknown option or number of arguments for CONFIG SET - 'foo'
        CONFIG SET notify-keyspace-events KEA => -ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - can't set immutable config: this server is configured by its cluster, and 'notify-keyspace-events' is ''
        CONFIG SET save              => -ERR wrong number of arguments for 'config|set' command
        CONFIG GET maxmemory "HASH-MAX-LISTPACK-V*" => *4 $23 hash-max-listpack-value $2 64 $9 maxmemory $1 0
        CONFIG REWRITE               => -ERR The server is running without a config file
        COMMAND LIST FILTERBY PATTERN xr* => *4 $6 xrange $5 xread $10 xreadgroup $9 xrevrange
        COMMAND LIST FILTERBY MODULE x => *0
        COMMAND LIST FILTERBY ACLCAT hyperloglog => *3 $5 pfadd $7 pfcount $7 pfmerge
        COMMAND LIST FILTERBY FOO x  => -ERR syntax error
        COMMAND GETKEYS OBJECT HELP  => -ERR The command has no key arguments
        COMMAND GETKEYSANDFLAGS GET a => *1 *2 $1 a *2 +RO +access
        CLIENT GETREDIR              => :-1
        CLIENT TRACKINGINFO          => *6 $5 flags *1 $3 off $8 redirect :-1 $8 prefixes *0
        CLIENT TRACKING OFF          => +OK
        CLIENT TRACKING ON           => -ERR client tracking is not supported: nobody is told of keys that change
        CLIENT PAUSE 100             => -ERR CLIENT PAUSE is not supported: a connection has no influence on others
        CLIENT KILL 1.1.1.1:5        => -ERR No such client
        CLIENT KILL ID 55            => :0
        CLIENT KILL ID x             => -ERR client-id should be greater than 0
        CLIENT LIST TYPE bogus       => -ERR Unknown client type 'bogus'
        CLIENT LIST ID x             => -ERR Invalid client ID
        CLIENT LIST ID 999           => $0
        CLIENT LIST TYPE pubsub      => $0
        CLIENT REPLY maybe           => -ERR syntax error
        "#,
    );
    for container in
        ["OBJECT", "CLIENT", "COMMAND", "CONFIG", "MEMORY", "SLOWLOG", "LATENCY", "DEBUG", "XINFO", "XGROUP"]
    {
        let help = run(&cluster, &format!("{container} HELP"));
        assert!(help.starts_with('*') && help.contains(&format!("+{container} <subcommand> ")), "{help}");
    }
}

#[test]
/// Fails if a field is missing that redis-py, redis_exporter or `redis-cli --stat` read without asking.
fn info_and_the_list_of_clients_have_the_fields_that_tools_read() {
    let cluster = cluster();
    let info = run(&cluster, "INFO everything");
    for field in [
        "os",
        "run_id",
        "tcp_port",
        "process_id",
        "uptime_in_seconds",
        "uptime_in_days",
        "blocked_clients",
        "used_memory",
        "used_memory_human",
        "used_memory_rss",
        "used_memory_peak",
        "used_memory_peak_human",
        "maxmemory",
        "maxmemory_policy",
        "total_connections_received",
        "total_commands_processed",
        "instantaneous_ops_per_sec",
        "keyspace_hits",
        "keyspace_misses",
        "expired_keys",
        "evicted_keys",
        "connected_clients",
        "role",
        "connected_slaves",
        "master_repl_offset",
        "used_cpu_sys",
        "used_cpu_user",
        "rdb_last_save_time",
        "aof_enabled",
        "loading",
        "cluster_enabled",
        "mem_fragmentation_ratio",
        "pubsub_channels",
        "pubsub_patterns",
        "latest_fork_usec",
    ] {
        assert!(info.contains(&format!(" {field}:")), "{field}");
    }
    assert!(run3(&cluster, "INFO server").starts_with('='));
    let client = run(&cluster, "CLIENT INFO");
    for field in
        "id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem multi-mem rbs rbp obl oll \
                  omem tot-mem events cmd user redir resp"
            .split_whitespace()
    {
        assert!(client.contains(&format!(" {field}=")), "{field}");
    }
    assert!(run3(&cluster, "CLIENT LIST").starts_with('='));
    assert!(run(&cluster, "CLIENT LIST TYPE normal").contains("flags=N"));
}

#[test]
/// Fails if a reply is sent that was not wanted, or one is missing that was.
fn replies_can_be_turned_off() {
    let cluster = cluster();
    assert_eq!(run(&cluster, "SET a 1\nCLIENT REPLY OFF\nINCR a\nGET a\nFOO\nCLIENT REPLY ON\nGET a"), "+OK +OK $1 2");
    assert_eq!(run(&cluster, "SET a 1\nCLIENT REPLY SKIP\nINCR a\nGET a\nGET a"), "+OK $1 2 $1 2");
    assert_eq!(run(&cluster, "CLIENT REPLY OFF\nCLIENT REPLY SKIP\nPING\nPING\nCLIENT REPLY ON\nPING"), "+OK +PONG");
    assert_eq!(run(&cluster, "CLIENT REPLY SKIP\nMGET a b c d\nDBSIZE\nPING"), ":1 +PONG");
}

#[test]
/// Fails if what a browser was made to send is executed.
fn requests_of_http_end_the_connection() {
    let cluster = cluster();
    assert_eq!(run(&cluster, "POST / HTTP/1.1\nHost: x\n\nSET hunt 1"), "");
    let get = run(&cluster, "GET / HTTP/1.1\nHost: x\n\nSET hunt 1");
    assert_eq!(get, "-ERR wrong number of arguments for 'get' command");
    assert_eq!(run(&cluster, "EXISTS hunt"), ":0");
}

#[test]
fn a_client_can_end_its_own_connection() {
    let cluster = cluster();
    assert_eq!(run(&cluster, "CLIENT KILL ADDR 127.0.0.1:50312 SKIPME no\nPING"), ":1");
    assert_eq!(run(&cluster, "CLIENT KILL 127.0.0.1:50312\nPING"), "+OK");
    assert_eq!(run(&cluster, "CLIENT KILL ADDR 127.0.0.1:50312\nPING"), ":0 +PONG");
    assert_eq!(run(&cluster, "CLIENT KILL ADDR 127.0.0.1:1 SKIPME no\nPING"), ":0 +PONG");
}
