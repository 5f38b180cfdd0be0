//! Many commands at once: order, sizes, crossings.

use super::*;
use recoil_sdk::fake::FakeConnection;

#[test]
fn replies_keep_the_order_of_commands_of_every_kind() {
    check_session(
        &cluster(),
        r#"
        SET a 1                     => +OK
        PING                        => +PONG
        GET a                       => $1 1
        NONSENSE x                  => -ERR unknown command 'NONSENSE', with args beginning with: 'x'
        INCR a                      => :2
        MGET a b a                  => *3 $1 2 $-1 $1 2
        DBSIZE                      => :1
        SET b 5                     => +OK
        DBSIZE                      => :2
        DEL a b                     => :2
        ECHO last                   => $4 last
        "#,
    );
}

#[test]
fn a_pipeline_is_few_crossings_and_few_writes() {
    let cluster = cluster();
    let input: Vec<u8> =
        (0..5000).flat_map(|number: u32| encode(&[b"SET", number.to_string().as_bytes(), b"v"])).collect();
    let mut connection = FakeConnection::new(input.chunks(64 << 10));
    Redis::serve(&mut connection, &cluster).unwrap();
    assert_eq!(connection.output(), b"+OK\r\n".repeat(5000));
    assert!(connection.writes() < 10, "{} writes", connection.writes());
    assert_eq!(cluster.calls(), 5000);
}

#[test]
fn the_stream_may_be_cut_anywhere() {
    let input = [
        encode(&[b"SET", b"k", b"v\r\n"]),
        encode(&[b"GET", b"k"]),
        b"INCR n\r\n".to_vec(),
        encode(&[b"MGET", b"k", b"n"]),
    ]
    .concat();
    let expected = send(&cluster(), &input);
    assert_eq!(text(&expected), "+OK $3 v  :1 *2 $3 v  $1 1");
    for cut in 1..input.len() {
        let mut connection = FakeConnection::new([&input[..cut], &input[cut..]]);
        Redis::serve(&mut connection, &cluster()).unwrap();
        assert_eq!(connection.output(), expected, "cut at {cut}");
    }
}

/// A router that knows how large the answers of one crossing ever were.
struct Measured<'a>(&'a FakeCluster, std::cell::Cell<usize>);

impl Router for Measured<'_> {
    fn call(&self, call: &recoil_sdk::RoutedCall) -> Result<Vec<u8>, recoil_sdk::CallError> {
        self.0.call(call)
    }
    fn call_many(&self, calls: &[recoil_sdk::RoutedCall]) -> Vec<Result<Vec<u8>, recoil_sdk::CallError>> {
        let answers = self.0.call_many(calls);
        let bytes = answers.iter().flatten().map(Vec::len).sum();
        self.1.set(self.1.get().max(bytes));
        answers
    }
    fn submit(&self, call: &recoil_sdk::RoutedCall) -> recoil_sdk::Pending {
        self.0.submit(call)
    }
    fn wait_all(&self, calls: Vec<recoil_sdk::Pending>) -> Vec<Result<Vec<u8>, recoil_sdk::CallError>> {
        self.0.wait_all(calls)
    }
    fn storage(&self) -> Box<dyn recoil_sdk::Storage + '_> {
        self.0.storage()
    }
    fn transact(&self, calls: &[recoil_sdk::RoutedCall]) -> Result<Vec<Vec<u8>>, recoil_sdk::CallError> {
        self.0.transact(calls)
    }
    fn scatter(&self, request: &[u8], mode: recoil_sdk::Mode) -> Vec<Result<Vec<u8>, recoil_sdk::CallError>> {
        self.0.scatter(request, mode)
    }
    fn locate(&self, key: &[u8]) -> recoil_sdk::PartitionInfo {
        self.0.locate(key)
    }
    fn partitions(&self) -> Vec<recoil_sdk::PartitionInfo> {
        self.0.partitions()
    }
    fn subscribe(&self, topic: &[u8]) -> Subscription {
        self.0.subscribe(topic)
    }
}

#[test]
fn large_values_in_a_pipeline_come_whole_and_one_by_one() {
    let cluster = cluster();
    let values: Vec<Vec<u8>> = (0..8u8).map(|number| vec![number; 4 << 20]).collect();
    for (number, value) in values.iter().enumerate() {
        send(&cluster, &encode(&[b"SET", format!("k{number}").as_bytes(), value]));
    }
    let measured = Measured(&cluster, std::cell::Cell::new(0));
    let (mut input, mut expected) = (Vec::new(), Vec::new());
    for (number, value) in values.iter().enumerate() {
        let key = format!("k{number}");
        // The old value is wanted, although the next command of the same pipeline replaces it.
        for command in
            [&[&b"GET"[..], key.as_bytes()][..], &[b"SET", key.as_bytes(), b"small"], &[b"GET", key.as_bytes()]]
        {
            input.extend(encode(command));
        }
        expected.extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
        expected.extend_from_slice(value);
        expected.extend_from_slice(b"\r\n+OK\r\n$5\r\nsmall\r\n");
    }
    assert!(send(&measured, &input) == expected);
    assert!(measured.1.get() < 1 << 20, "{} bytes in one crossing", measured.1.get());
}

#[test]
fn writes_that_answer_values_are_few_in_one_crossing() {
    let cluster = cluster();
    let value = vec![b'v'; 4 << 20];
    let keys: Vec<String> = (0..8).map(|number| format!("k{number}")).collect();
    keys.iter().for_each(|key| drop(send(&cluster, &encode(&[b"SET", key.as_bytes(), &value]))));
    let measured = Measured(&cluster, std::cell::Cell::new(0));
    let input: Vec<u8> = keys.iter().flat_map(|key| encode(&[b"GETDEL", key.as_bytes()])).collect();
    assert_eq!(send(&measured, &input).len(), 8 * (value.len() + "$4194304\r\n\r\n".len()));
    assert!(measured.1.get() <= 17 << 20);
}

#[test]
fn mget_is_bounded_and_takes_any_number_of_keys() {
    let cluster = cluster();
    let keys: Vec<String> = (0..3000).map(|number| format!("k{number}")).collect();
    let mut sets: Vec<&[u8]> = vec![b"MSET"];
    keys.iter().for_each(|key| sets.extend([key.as_bytes(), b"v"]));
    assert_eq!(text(&send(&cluster, &encode(&sets))), "+OK");
    let mut gets: Vec<&[u8]> = vec![b"MGET"];
    gets.extend(keys.iter().map(|key| key.as_bytes()));
    let expected = [b"*3000\r\n".to_vec(), b"$1\r\nv\r\n".repeat(3000)].concat();
    assert!(send(&cluster, &encode(&gets)) == expected);
    gets[0] = b"DEL";
    assert_eq!(text(&send(&cluster, &encode(&gets))), ":3000");
    send(&cluster, &encode(&[b"SET", b"large", &vec![b'v'; 7 << 20]]));
    assert!(run(&cluster, "MGET large large large\nPING").starts_with("-ERR the reply would be above"));
    assert!(run(&cluster, "MGET large large").starts_with("*2 $7340032 v"));
}

#[test]
fn a_command_that_is_too_large_leaves_the_connection_usable() {
    let cluster = cluster();
    let value = vec![b'v'; 13 << 20];
    let input = [encode(&[b"SET", b"a", b"1"]), encode(&[b"SET", b"k", &value]), encode(&[b"GET", b"a"])].concat();
    let output = text(&send(&cluster, &input));
    assert!(
        output.starts_with("+OK -ERR the arguments of a command may come to") && output.ends_with("$1 1"),
        "{output}"
    );
}

#[test]
fn quit_answers_what_came_before_and_nothing_after() {
    assert_eq!(run(&cluster(), "SET a 1\nGET a\nQUIT\nGET a"), "+OK $1 1 +OK");
}

#[test]
/// Fails if a large reply of a collection is asked for again after a later write of the same pipeline.
fn large_collections_in_a_pipeline_are_read_before_what_comes_after() {
    let cluster = cluster();
    let members = |from: u32| (from..from + 3000).map(|number| format!(" member:{number}")).collect::<String>();
    let fields: String = (0..3000).map(|number| format!(" field:{number} v")).collect();
    for command in [
        format!("SADD {{t}}a{}", members(0)),
        format!("SADD {{t}}b{}", members(2000)),
        format!("HSET {{t}}h{fields}"),
        format!("RPUSH {{t}}l{}", members(0)),
    ] {
        ask(&cluster, &command);
    }
    let reply = run(
        &cluster,
        "SUNION {t}a {t}b\nSMOVE {t}b {t}a member:4999\nSUNIONSTORE {t}a {t}none\nHGETALL {t}h\nDEL {t}h\nLRANGE {t}l 0 -1\nLPOP {t}l\n\
         SUNION {t}a {t}b\nPING",
    );
    let heads: Vec<&str> = reply.split(' ').filter(|word| word.starts_with(['*', ':', '+'])).collect();
    assert_eq!(heads, ["*5000", ":1", ":0", "*6000", ":1", "*3000", "*2999", "+PONG"]);
}

/// Fails if scripts of a pipeline are evaluated one after the other, out of order on a partition, or twice, or if one that must be sent
/// again (an unknown digest, an undeclared key, a large reply) is overtaken by what follows it.
#[test]
fn scripts_of_a_pipeline_keep_their_order() {
    let cluster = cluster();
    let set = "return redis.call('set', KEYS[1], ARGV[1])";
    let sha = crate::scripts::hexadecimal(&crate::scripts::sha1_of(set.as_bytes()));
    let mut input = encode(&[b"SCRIPT", b"LOAD", set.as_bytes()]);
    let mut expected = format!("$40 {sha}");
    for number in 0..60 {
        let (key, value) = (format!("key:{}", number % 7), number.to_string());
        input.extend(encode(&[b"EVALSHA", sha.as_bytes(), b"1", key.as_bytes(), value.as_bytes()]));
        input.extend(encode(&[b"GET", key.as_bytes()]));
        expected.push_str(&format!(" +OK ${} {value}", value.len()));
    }
    assert_eq!(text(&send(&cluster, &input)), expected);
    // Of keys on different partitions nothing waits for anything, so that there are fewer crossings than scripts.
    let long = "local n=redis.call('incr', KEYS[1]) redis.call('incr', 'other') return string.rep('x', tonumber(ARGV[1])) .. n";
    let eval = |bytes: &str| encode(&[b"EVAL", long.as_bytes(), b"1", b"{other}", bytes.as_bytes()]);
    let input =
        [eval("1"), eval("40000"), encode_words("GET {other}"), eval("2"), encode_words("MGET {other} other")].concat();
    let output = text(&send(&cluster, &input));
    let large = format!("$40001 {}2", "x".repeat(40_000));
    assert_eq!(output, format!("$2 x1 {large} $1 2 $3 xx3 *2 $1 3 $1 3"));
    let bad =
        "EVAL \"return redis.call('nosuch'\" 1 k\nSET k v\nEVALSHA 0000000000000000000000000000000000000000 1 k\nGET k";
    let output = run(&cluster, bad);
    assert!(output.starts_with("-ERR Error compiling script") && output.contains(" +OK -NOSCRIPT "), "{output}");
    assert!(output.ends_with("$1 v"), "{output}");
    // A second time the session sends the digest only, which another session may have flushed.
    let again = || {
        assert_eq!(run(&cluster, "SCRIPT FLUSH"), "+OK");
        [eval("1"), encode_words("GET other")].concat()
    };
    let output = serve_steps(&cluster, vec![Box::new(|| eval("1")), Box::new(again)]);
    assert_eq!(text(&output), "$2 x4 $2 x5 $1 5");
}
