//! Sixteen databases, by both rules of finding a key's partition.

use recoil_sdk::fake::set_setting;

use super::*;
use crate::keyspace::databases::FLUSHED_AT_ONCE;

/// Both rules, each on a cluster of its own.
fn by_both_rules(test: impl Fn(&FakeCluster)) {
    for routing in ["key", "database"] {
        set_setting("routing", routing);
        test(&cluster());
    }
    set_setting("routing", "key");
}

/// Fails if a database sees keys of another one, or if what names a database is understood otherwise than Redis does.
#[test]
fn each_database_has_its_own_keys() {
    by_both_rules(|cluster| {
        check_session(
            cluster,
            r#"
            SET k zero      => +OK
            SELECT 15       => +OK
            GET k           => $-1
            MSET k fifteen l 1 => +OK
            DBSIZE          => :2
            SELECT 16       => -ERR DB index is out of range
            SELECT -1       => -ERR DB index is out of range
            SELECT x        => -ERR value is not an integer or out of range
            GET k           => $7 fifteen
            RPUSH list a b  => :2
            HSET hash f v   => :1
            SADD set m      => :1
            ZADD zset 1 m   => :1
            XADD stream 1-1 f v => $3 1-1
            TYPE list       => +list
            EXISTS list hash set zset stream k l m => :7
            KEYS l          => *1 $1 l
            SELECT 0        => +OK
            DBSIZE          => :1
            KEYS *          => *1 $1 k
            RANDOMKEY       => $1 k
            TYPE list       => +none
            GET k           => $4 zero
            RESET           => +RESET
            DBSIZE          => :1
            "#,
        );
        let info = run(cluster, "INFO keyspace");
        assert!(info.contains("db0:keys=1,expires=0,avg_ttl=0 db15:keys=7,expires=0"), "{info}");
        assert!(!info.contains("db1:"), "{info}");
        assert!(run(cluster, "SELECT 3\nCLIENT LIST").contains(" db=3 "));
        let keys = run(cluster, "SELECT 15\nSCAN 0 COUNT 1000");
        assert!(keys.starts_with("+OK *2 $1 0 *7 "), "{keys}");
        assert_eq!(run(cluster, "SELECT 15\nFLUSHDB\nDBSIZE\nSELECT 0\nDBSIZE"), "+OK +OK :0 +OK :1");
        assert_eq!(run(cluster, "SELECT 9\nSET x 1\nFLUSHALL\nDBSIZE\nSELECT 0\nDBSIZE"), "+OK +OK +OK :0 +OK :0");
    });
}

/// Fails if MOVE and COPY lose, duplicate or overwrite a key, or forget its elements or expiry.
#[test]
fn keys_move_between_databases_of_one_partition() {
    check_session(
        &cluster(),
        r#"
        MOVE k 1            => :0
        SET k v EX 100      => +OK
        MOVE k 0            => -ERR source and destination objects are the same
        MOVE k 16           => -ERR DB index is out of range
        MOVE k x            => -ERR value is not an integer or out of range
        MOVE k 1            => :1
        EXISTS k            => :0
        SET k other         => +OK
        MOVE k 1            => :0
        GET k               => $5 other
        COPY k k            => -ERR source and destination objects are the same
        COPY k k DB 0       => -ERR source and destination objects are the same
        COPY k k DB 1       => :0
        COPY k k DB 99      => -ERR DB index is out of range
        COPY k k DB         => -ERR syntax error
        COPY k k DB 2       => :1
        SELECT 1            => +OK
        GET k               => $1 v
        EXPIRETIME none     => :-2
        TTL k               => :100
        SELECT 2            => +OK
        GET k               => $5 other
        COPY k k DB 1 REPLACE => :1
        SELECT 1            => +OK
        GET k               => $5 other
        TTL k               => :-1
        "#,
    );
    let cluster = cluster();
    let elements: String = (0..600).map(|number| format!(" {number}")).collect();
    run(&cluster, &format!("RPUSH list{elements}\nSADD set{elements}\nXADD stream 1-1 f v"));
    assert_eq!(run(&cluster, "MOVE list 3\nMOVE set 3\nMOVE stream 3\nDBSIZE"), ":1 :1 :1 :0");
    assert_eq!(run(&cluster, "SELECT 3\nLINDEX list -1\nSCARD set\nXLEN stream"), "+OK $3 599 :600 :1");
    assert_eq!(run(&cluster, "SELECT 3\nCOPY list list DB 4\nDEL list\nSELECT 4\nLLEN list"), "+OK :1 :1 +OK :600");
    assert_eq!(
        run(&cluster, "MULTI\nSET a 1\nMOVE a 5\nSELECT 5\nINCR a\nEXEC\nGET a"),
        "+OK +QUEUED +QUEUED +QUEUED +QUEUED *4 +OK :1 +OK :2 $1 2"
    );
}

/// Fails if a database with its own partition takes part in what only one partition can do, or if moving over two is not atomic.
#[test]
fn keys_move_between_partitions_of_one_group() {
    set_setting("routing", "database");
    let cluster = cluster();
    // Databases 0, 3 and 6 are of one group of the three; 1 is of another.
    check_session(
        &cluster,
        r#"
        SET k v PX 100000  => +OK
        MOVE k 3           => :1
        EXISTS k           => :0
        MOVE k 3           => :0
        SELECT 3           => +OK
        GET k              => $1 v
        COPY k l DB 6      => :1
        COPY k l DB 6      => :0
        COPY k l DB 0 REPLACE => :1
        SELECT 6           => +OK
        MSET a 1 b 2       => +OK
        RENAME a c         => +OK
        MSETNX c 1 d 2     => :0
        SINTERSTORE x y z  => :0
        RPUSH p 1 2        => :2
        BLMOVE p q LEFT RIGHT 0 => $1 1
        MULTI              => +OK
        SET one 1          => +QUEUED
        SET other 2        => +QUEUED
        EXEC               => *2 +OK +OK
        DBSIZE             => :7
        "#,
    );
    let refused = run(&cluster, "SET k v\nMOVE k 1\nGET k");
    assert!(refused.starts_with("+OK -CROSSSLOT "), "{refused}");
    assert!(refused.ends_with("$1 v"), "{refused}");
    for database in 0..13u32 {
        let keys = (0..13).filter(|id| {
            cluster.with_partition(*id, |partition| {
                partition.rows().keys().any(|row| row.starts_with(&crate::keyspace::space_prefix(database as u8)))
            })
        });
        assert!(keys.clone().all(|id| id == database), "database {database} is on {:?}", keys.collect::<Vec<_>>());
    }
    assert!(run(&cluster, "SWAPDB 0 1").contains("-ERR with the setting routing = database"));
    assert_eq!(run(&cluster, "SET k v\nSWAPDB 0 13\nGET k\nSELECT 13\nGET k"), "+OK +OK $-1 +OK $1 v");
    set_setting("routing", "key");
}

/// Fails if SWAPDB forgets the expiry, the elements or the watchers of keys.
#[test]
fn databases_are_exchanged_at_once() {
    let cluster = cluster_of_one_group();
    check_session(
        &cluster,
        r#"
        MSET a zero b zero => +OK
        SELECT 1           => +OK
        SET a one PX 5000  => +OK
        SWAPDB 0 1         => +OK
        MGET a b           => *2 $4 zero $4 zero
        SELECT 0           => +OK
        MGET a b           => *2 $3 one $-1
        SWAPDB 0 x         => -ERR invalid second DB index
        SWAPDB x 0         => -ERR invalid first DB index
        SWAPDB 0 16        => -ERR DB index is out of range
        SWAPDB 2 2         => +OK
        DBSIZE             => :1
        "#,
    );
    cluster.advance::<Redis>(6_000_000);
    assert_eq!(run(&cluster, "DBSIZE\nSELECT 1\nDBSIZE"), ":0 +OK :2");
    // Both keys are of one transaction, and so have one version.
    run(&cluster, "MULTI\nSELECT 3\nSET w 3\nSELECT 4\nSET w 4\nEXEC");
    let swap = || {
        run(&cluster, "SWAPDB 3 4");
        b"MULTI\r\nSET w changed\r\nEXEC\r\n".to_vec()
    };
    let output = serve_steps(&cluster, vec![Box::new(|| b"SELECT 3\r\nWATCH w\r\nGET w\r\n".to_vec()), Box::new(swap)]);
    assert_eq!(text(&output), "+OK +OK $1 3 +OK +QUEUED *-1");
    let refused = run(&self::cluster(), "SWAPDB 0 1");
    assert!(refused.starts_with("-ERR SWAPDB exchanges databases on all partitions"), "{refused}");
}

fn fill(cluster: &FakeCluster, database: u8, keys: u32) {
    let mut input = format!("SELECT {database}\r\n");
    (0..keys).for_each(|number| input.push_str(&format!("SET {{t}}{number} v\r\n")));
    send(cluster, input.as_bytes());
}

fn rows(cluster: &FakeCluster) -> usize {
    let partition = cluster.owner(b"t");
    cluster.with_partition(partition, |partition| partition.rows().len())
}

/// Fails if a flush of a large database takes time for its keys, leaves some for ever, or lets them be seen again; if one of a
/// small database, as in test suites, changes where database 0 is.
#[test]
fn a_flush_takes_the_same_time_however_many_keys_there_are() {
    for database in [0, 7] {
        let cluster = cluster();
        fill(&cluster, database, FLUSHED_AT_ONCE);
        let select = format!("SELECT {database}");
        assert_eq!(run(&cluster, &format!("{select}\nFLUSHDB\nDBSIZE")), "+OK +OK :0");
        assert_eq!(rows(&cluster), 0, "a small flush leaves nothing, not even a map");
        let elements: String = (0..600).map(|number| format!(" {number}")).collect();
        for round in 0..3 {
            fill(&cluster, database, FLUSHED_AT_ONCE + 1);
            run(
                &cluster,
                &format!("{select}\nRPUSH {{t}}list{elements}\nPEXPIRE {{t}}1 100\nSELECT 3\nSET {{t}}1 stays"),
            );
            let before = rows(&cluster);
            assert_eq!(run(&cluster, &format!("{select}\nFLUSHDB\nDBSIZE\nKEYS *\nGET {{t}}1")), "+OK +OK :0 *0 $-1");
            assert!(rows(&cluster) >= before, "the keys are left to the cleaner in round {round}");
            assert_eq!(run(&cluster, &format!("{select}\nSET {{t}}1 new\nLLEN {{t}}list")), "+OK +OK :0");
            while cluster.advance::<Redis>(1_000) > 0 {}
            cluster.advance::<Redis>(1_000_000);
            assert_eq!(
                run(&cluster, &format!("{select}\nGET {{t}}1\nDBSIZE\nSELECT 3\nGET {{t}}1")),
                "+OK $3 new :1 +OK $5 stays"
            );
            assert_eq!(rows(&cluster), 3, "two keys and the map");
        }
    }
}

/// Fails if more large flushes than there are spaces let a database have another one's keys.
#[test]
fn flushes_that_outrun_the_cleaner_are_refused() {
    let cluster = FakeCluster::new::<Redis>(1, 1);
    // A cluster whose cleaner never runs: time does not pass.
    let mut refused = 0;
    for _ in 0..245 {
        fill(&cluster, 2, FLUSHED_AT_ONCE + 1);
        let reply = run(&cluster, "SELECT 2\nFLUSHDB");
        refused += usize::from(reply.contains("-TRYAGAIN 240 large databases"));
    }
    assert_eq!(refused, 5);
    while cluster.advance::<Redis>(1_000) > 0 {}
    assert_eq!(run(&cluster, "SELECT 2\nFLUSHDB\nDBSIZE"), "+OK +OK :0");
}

/// Fails if expiry removes a key of the same name in another database.
#[test]
fn keys_of_one_name_expire_by_themselves() {
    by_both_rules(|cluster| {
        run(cluster, "SET k 0\nSELECT 1\nSET k 1 PX 1000\nSELECT 2\nSET k 2 PX 9000");
        cluster.advance::<Redis>(2_000_000);
        assert_eq!(run(cluster, "DBSIZE\nSELECT 1\nDBSIZE\nSELECT 2\nDBSIZE\nGET k"), ":1 +OK :0 +OK :1 $1 2");
        let info = run(cluster, "INFO keyspace");
        assert!(info.contains("db0:keys=1,expires=0") && info.contains("db2:keys=1,expires=1"), "{info}");
        assert!(!info.contains("db1:"), "{info}");
    });
}

/// Fails if a waiting client is served from another database than the one that it has selected.
#[test]
fn who_waits_does_so_in_one_database() {
    let cluster = cluster_of_one_group();
    let push = || {
        assert_eq!(run(&cluster, "RPUSH list zero\nSELECT 2\nRPUSH list two"), ":1 +OK :1");
        Vec::new()
    };
    let output = serve_steps(&cluster, vec![Box::new(|| b"SELECT 2\r\nBLPOP list 1\r\n".to_vec()), Box::new(push)]);
    assert_eq!(text(&output), "+OK *2 $4 list $3 two");
    assert_eq!(run(&cluster, "LLEN list\nSELECT 2\nEXISTS list"), ":1 +OK :0");
    // What comes by SWAPDB serves whoever waits.
    let swap = || {
        run(&cluster, "SWAPDB 0 2");
        Vec::new()
    };
    let output = serve_steps(&cluster, vec![Box::new(|| b"SELECT 2\r\nBLPOP list 5\r\n".to_vec()), Box::new(swap)]);
    assert_eq!(text(&output), "+OK *2 $4 list $4 zero");
    for id in 0..13 {
        let waiting = cluster.with_partition(id, |partition| {
            partition.rows().keys().filter(|row| [8, 9, 10, 0x20].contains(&row[0])).count()
        });
        assert_eq!(waiting, 0, "nobody is registered on {id}");
    }
}

/// Fails if SELECT in a script means another database than Redis' does, or outlives the script.
#[test]
fn scripts_run_in_the_selected_database() {
    let cluster = cluster();
    let script = |body: &str, keys: &str| format!("EVAL \"{body}\" {keys}");
    let moves =
        script("redis.call('set',KEYS[1],'3') redis.call('select',5) return redis.call('set',KEYS[1],'5')", "1 k");
    assert_eq!(run(&cluster, &format!("SELECT 3\n{moves}\nGET k\nSELECT 5\nGET k")), "+OK +OK $1 3 +OK $1 5");
    let far = script("return redis.pcall('select',16)", "1 k");
    assert_eq!(run(&cluster, &far), "-ERR DB index is out of range");
    let copy = script("return{redis.call('move',KEYS[1],6),redis.call('copy',KEYS[1],KEYS[1],'DB',7)}", "1 k");
    assert_eq!(run(&cluster, &format!("SELECT 5\n{copy}\nSELECT 6\nGET k")), "+OK *2 :1 :0 +OK $1 5");
}

/// Fails if keys without a common hash tag, declared or not, are not found by scripts where a database is on one partition.
#[test]
fn scripts_take_any_keys_where_a_database_is_on_one_partition() {
    set_setting("routing", "database");
    let cluster = cluster();
    let script = |body: &str, keys: &str| format!("EVAL \"{body}\" {keys}");
    let job = script(
        "local id=redis.call('incr','bull:q:id') redis.call('hset',KEYS[1]..id,'data',ARGV[1]) \
         redis.call('lpush',KEYS[2],id) return redis.call('hgetall','bull:q:'..id)",
        "2 bull:q: bull:wait x",
    );
    let lines =
        format!("SELECT 1\n{job}\n{job}\nLLEN bull:wait\nDBSIZE\nMULTI\n{job}\nLPOP bull:wait\nPUBLISH news x\nEXEC");
    assert_eq!(
        run(&cluster, &lines),
        "+OK *2 $4 data $1 x *2 $4 data $1 x :2 :4 +OK +QUEUED +QUEUED +QUEUED *3 *2 $4 data $1 x $1 3 :0"
    );
    let without_keys =
        script("redis.call('set','a','1') redis.call('set','b','2') return redis.call('mget','a','b')", "0");
    assert_eq!(run(&cluster, &without_keys), "*2 $1 1 $1 2");
    let elsewhere = run(&cluster, &script("return redis.call('select',1)", "0"));
    assert!(elsewhere.starts_with("-ERR with the setting routing = database a script has one database"), "{elsewhere}");
    assert_eq!(run(&cluster, &script("redis.call('select',13) return redis.call('set','k','v')", "0")), "+OK");
    assert_eq!(run(&cluster, "SELECT 13\nGET k"), "+OK $1 v");
    let sorted = "MSET w_1 2 w_2 1\nRPUSH l 1 2\nSORT l BY w_* GET w_*";
    assert_eq!(run(&cluster, sorted), "+OK :2 *2 $1 1 $1 2");
    set_setting("routing", "key");
}

/// Fails if a change of the setting loses keys from sight, or writes some where the other rule does not look.
#[test]
fn a_changed_routing_waits_until_there_are_no_keys() {
    let cluster = cluster();
    let pairs: String = (0..40).map(|number| format!(" key:{number} v")).collect();
    run(&cluster, &format!("MSET{pairs}"));
    set_setting("routing", "database");
    assert_eq!(run(&cluster, "DBSIZE\nGET key:7\nSET new 1\nDBSIZE"), ":40 $1 v +OK :41");
    assert!(run(&cluster, "INFO server").contains("recoil_routing:key"));
    // Sessions that go by the old rule are told by the partitions.
    let flush = || {
        assert_eq!(run(&cluster, "FLUSHALL\nSET a 1\nDBSIZE"), "+OK +OK :1");
        assert!(run(&cluster, "PING\nDBSIZE\nINFO server").contains("recoil_routing:database"));
        b"SET b 2\r\nSET b 3\r\n".to_vec()
    };
    let again = || b"SET c 4\r\nDBSIZE\r\n".to_vec();
    let output = serve_steps(&cluster, vec![Box::new(|| b"DBSIZE\r\n".to_vec()), Box::new(flush), Box::new(again)]);
    assert_eq!(text(&output), ":41 +OK +OK +OK :3");
    // Back to the default, with keys: sessions find them, the first call of each included.
    set_setting("routing", "key");
    assert_eq!(
        run(&cluster, "GET a\nGET c\nMGET a c\nSELECT 3\nSET d 5\nGET d"),
        "$1 1 $1 4 *2 $1 1 $1 4 +OK +OK $1 5"
    );
    assert_eq!(run(&cluster, "EXISTS a c b"), ":3");
    assert_eq!(run(&cluster, "FLUSHALL"), "+OK");
    assert_eq!(run(&cluster, "DBSIZE\nSET e 1\nGET e"), ":0 +OK $1 1");
    assert!(run(&cluster, "DBSIZE\nINFO server").contains("recoil_routing:key"));
    set_setting("routing", "datbase");
    assert!(
        run(&cluster, "GET e\nDBSIZE")
            .starts_with("-ERR the setting routing is 'datbase', and must be key or database")
    );
    set_setting("routing", "key");
}
