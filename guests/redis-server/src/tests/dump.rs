//! DUMP and RESTORE.

use super::differential::Reference;
use super::*;

/// The bulk string that a command answers.
fn bulk(reply: &[u8]) -> Vec<u8> {
    let end = reply.windows(2).position(|pair| pair == b"\r\n").expect("a whole line");
    let length: usize =
        std::str::from_utf8(&reply[1..end]).unwrap().parse().unwrap_or_else(|_| panic!("{}", text(reply)));
    reply[end + 2..end + 2 + length].to_vec()
}

/// A payload of this type and value, with the right end.
fn payload(body: &[u8], version: u16) -> Vec<u8> {
    let mut payload = [body, &version.to_le_bytes()].concat();
    let checksum = crc::Crc::<u64>::new(&crc::CRC_64_REDIS).checksum(&payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload
}

fn restore(router: &dyn Router, key: &str, payload: &[u8]) -> String {
    text(&send(router, &encode(&[b"RESTORE", key.as_bytes(), b"0", payload, b"REPLACE"])))
}

/// A string with a length of one byte.
fn string(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8][..], bytes].concat()
}

/// Commands that make a value of each kind and size under `key`, and the command that shows it.
fn values() -> Vec<(&'static str, Vec<String>, &'static str)> {
    let many = |command: &str, item: fn(u32) -> String, count: u32| {
        vec![format!("{command}{}", (0..count).map(|number| format!(" {}", item(number))).collect::<String>())]
    };
    let plain = |command: &str| vec![command.to_owned()];
    let long = |number: u32| format!("{}{number}", "text that repeats ".replace(' ', "_").repeat(4));
    let stream = |count: u32| {
        let mut commands: Vec<String> = (1..=count)
            .map(|number| match number % 7 {
                0 => format!("XADD key {number}-1 other {number} f x"),
                3 => format!("XADD key {number}-5 f {} g {number}", "v".repeat(90)),
                _ => format!("XADD key {number}-{} f {number} g -70000000000", number * 3),
            })
            .collect();
        commands
            .extend(["XDEL key 2-6 5-15", "XGROUP CREATE key one 0", "XGROUP CREATE key two 3-5"].map(str::to_owned));
        commands.extend(
            ["XREADGROUP GROUP one a COUNT 3 STREAMS key >", "XREADGROUP GROUP one b COUNT 2 STREAMS key >"]
                .map(str::to_owned),
        );
        commands.extend(
            ["XACK key one 1-3", "XREADGROUP GROUP two a COUNT 1 STREAMS key >", "XGROUP CREATE key none $"]
                .map(str::to_owned),
        );
        commands
    };
    vec![
        ("number", plain("SET key 12345"), "GET key"),
        ("negative", plain("SET key -2000000000"), "GET key"),
        ("text", plain("SET key hello"), "GET key"),
        ("empty", plain("SET key \"\""), "GET key"),
        ("compressible", vec![format!("SET key {}", "a".repeat(5000))], "GET key"),
        (
            "mixed",
            vec![format!("SET key {}", (0..500).map(|n| format!("{}abc", n % 37)).collect::<String>())],
            "GET key",
        ),
        ("small list", many("RPUSH key", |number| number.to_string(), 20), "LRANGE key 0 -1"),
        ("large list", many("RPUSH key", |number| format!("{}-{number}", "x".repeat(100)), 400), "LRANGE key 0 -1"),
        ("list of large", vec![format!("RPUSH key {} b -1 70000", "y".repeat(20_000))], "LRANGE key 0 -1"),
        ("integers", many("SADD key", |number| (number * 1000).to_string(), 100), "SORT key"),
        ("large integers", plain("SADD key 1 -5 9223372036854775807 40000"), "SORT key"),
        ("small set", plain("SADD key a b c 1 22"), "SORT key ALPHA"),
        ("large set", many("SADD key", |number| format!("m{number}"), 700), "SORT key ALPHA"),
        ("small hash", plain("HSET key a 1 b -129 c x d 8388608 e 2147483648"), "HGETALL key"),
        ("large hash", many("HSET key", |number| format!("f{number} {number}"), 700), "HGETALL key"),
        ("long hash", vec![format!("HSET key f {}", long(1))], "HGETALL key"),
        ("small zset", plain("ZADD key 1 a 2.5 b -inf c +inf d"), "ZRANGE key 0 -1 WITHSCORES"),
        (
            "large zset",
            many("ZADD key", |number| format!("{}.25 m{number}", number % 50), 300),
            "ZRANGE key 0 -1 WITHSCORES",
        ),
        ("small stream", stream(9), "XINFO STREAM key FULL"),
        ("large stream", stream(350), "XINFO STREAM key FULL COUNT 0"),
        ("empty stream", plain("XGROUP CREATE key g $ MKSTREAM"), "XINFO STREAM key"),
    ]
}

/// A shown value without what may differ: the order of hashes, and what depends on versions and moments.
fn comparable(show: &str, shown: &[u8]) -> Vec<String> {
    let text = text(shown);
    if show.starts_with("XINFO") {
        let kept = |part: &&str| {
            let name = part.split(' ').nth(1).unwrap_or_default();
            !name.starts_with("radix-tree") && name != "seen-time" && name != "active-time"
        };
        // A consumer has one field more in 7.2.
        return text.split('$').map(str::trim).filter(kept).map(|part| part.replace("*10", "*8")).collect();
    }
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    if show.starts_with("HGETALL") {
        words.sort();
    }
    words
}

#[test]
/// Fails if a value is not the same once it has been dumped and restored, here or on a real server, in either direction.
fn values_are_exchanged_with_a_real_server() {
    let reference = Reference::start();
    for (name, commands, show) in values() {
        let cluster = FakeCluster::new::<Redis>(1, 1);
        let lines = commands.join("\n");
        run(&cluster, "DEL key");
        let made: Vec<u8> = commands.iter().flat_map(|command| command_of(command)).collect();
        send(&cluster, &made);
        let ours = send(&cluster, &encode(&[b"DUMP", b"key"]));
        let shown = comparable(show, &ask_bytes(&cluster, show));
        assert_eq!(restore(&cluster, "key", &bulk(&ours)), "+OK", "{name}: {lines:.300}");
        assert_eq!(comparable(show, &ask_bytes(&cluster, show)), shown, "{name} restored here");
        let Some(reference) = &reference else { continue };
        let theirs = |input: &[u8]| reference.send(input);
        theirs(&encode(&[b"FLUSHALL"]));
        let reply = theirs(&encode(&[b"RESTORE", b"key", b"0", &bulk(&ours), b"REPLACE"]));
        assert_eq!(text(&reply), "+OK", "{name}: what is written here is read there");
        assert_eq!(comparable(show, &theirs(&command_of(show))), shown, "{name} restored there");
        theirs(&encode(&[b"DEL", b"key"]));
        theirs(&made);
        let dumped = bulk(&theirs(&encode(&[b"DUMP", b"key"])));
        let shown = comparable(show, &theirs(&command_of(show)));
        assert_eq!(restore(&cluster, "key", &dumped), "+OK", "{name}: what is written there is read here");
        assert_eq!(comparable(show, &ask_bytes(&cluster, show)), shown, "{name} from there");
    }
}

/// A command whose words stand between spaces; `""` is an empty one.
fn command_of(command: &str) -> Vec<u8> {
    encode(&command.split(' ').map(|word| if word == "\"\"" { &b""[..] } else { word.as_bytes() }).collect::<Vec<_>>())
}

fn ask_bytes(router: &dyn Router, command: &str) -> Vec<u8> {
    send(router, &command_of(command))
}

#[test]
/// Fails if one of the encodings of old versions is not read.
fn old_encodings_are_read() {
    let cluster = FakeCluster::new::<Redis>(1, 1);
    // Ziplist: "ab", 5 at once, 300, -2, 70000, 2^40.
    let entries: Vec<&[u8]> = vec![
        b"\x00\x02ab",
        b"\x04\xf6",
        b"\x02\xc0\x2c\x01",
        b"\x04\xfe\xfe",
        b"\x03\xf0\x70\x11\x01",
        b"\x05\xe0\0\0\0\0\0\x01\0\0",
    ];
    let ziplist = |entries: &[&[u8]]| {
        let all = entries.concat();
        let tail = 10 + all.len() - entries.last().map_or(0, |last| last.len());
        let mut blob = (all.len() as u32 + 11).to_le_bytes().to_vec();
        blob.extend_from_slice(&(tail as u32).to_le_bytes());
        blob.extend_from_slice(&(entries.len() as u16).to_le_bytes());
        [&blob[..], &all, b"\xff"].concat()
    };
    let blob = string(&ziplist(&entries));
    let list = "*6 $2 ab $1 5 $3 300 $2 -2 $5 70000 $13 1099511627776";
    for (kind, body, show, expected) in [
        (10, blob.clone(), "LRANGE k 0 -1", list),
        (14, [&b"\x01"[..], &blob].concat(), "LRANGE k 0 -1", list),
        (
            1,
            [&b"\x03"[..], b"\x01a", b"\xc0\x85", b"\xc1\x00\x80"].concat(),
            "LRANGE k 0 -1",
            "*3 $1 a $4 -123 $6 -32768",
        ),
        (13, blob.clone(), "HMGET k ab 300 70000", "*3 $1 5 $2 -2 $13 1099511627776"),
        (9, string(b"\x02\x01a\x02\x00xy\x01b\x01\x02z..\xff"), "HMGET k a b", "*2 $2 xy $1 z"),
        (11, string(b"\x02\0\0\0\x03\0\0\0\xfe\xff\x01\0\x05\0"), "SORT k", "*3 $2 -2 $1 1 $1 5"),
        (11, string(b"\x08\0\0\0\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\x7f"), "SORT k", "*1 $19 9223372036854775807"),
        (
            12,
            string(&ziplist(&[b"\x00\x01a", b"\x03\x032.5", b"\x05\x01b", b"\x03\xf4"])),
            "ZRANGE k 0 -1 WITHSCORES",
            "*4 $1 a $3 2.5 $1 b $1 3",
        ),
        (
            3,
            [&b"\x03"[..], b"\x01a\xff", b"\x01b\x031.5", b"\x01c\xfe"].concat(),
            "ZRANGE k 0 -1 WITHSCORES",
            "*6 $1 a $4 -inf $1 b $3 1.5 $1 c $3 inf",
        ),
        // LZF: one literal and 13 more of it.
        (0, b"\xc3\x05\x0e\x00a\xe0\x04\x00".to_vec(), "GET k", "$14 aaaaaaaaaaaaaa"),
        (0, b"\x40\x03abc".to_vec(), "GET k", "$3 abc"),
        (0, b"\x80\0\0\0\x03abc".to_vec(), "GET k", "$3 abc"),
        (0, b"\x81\0\0\0\0\0\0\0\x03abc".to_vec(), "GET k", "$3 abc"),
    ] {
        let body = [&[kind][..], &body].concat();
        assert_eq!(restore(&cluster, "k", &payload(&body, 6)), "+OK", "{kind} {show}");
        assert_eq!(run(&cluster, show), expected, "{kind}");
        for cut in 0..body.len() {
            assert_eq!(
                restore(&cluster, "x", &payload(&body[..cut], 6)),
                "-ERR Bad data format",
                "{kind} cut at {cut}"
            );
        }
        assert_eq!(restore(&cluster, "x", &payload(&[&body[..], b"\0"].concat(), 6)), "-ERR Bad data format");
    }
    assert_eq!(run(&cluster, "EXISTS x"), ":0");
}

#[test]
/// Fails if what no server would hold is stored.
fn what_is_wrong_in_a_payload_is_refused() {
    let cluster = FakeCluster::new::<Redis>(1, 1);
    for (why, body) in [
        ("an empty list", &b"\x01\x00"[..]),
        ("an empty set", b"\x02\x00"),
        ("a member twice", b"\x02\x02\x01a\x01a"),
        ("a field twice", b"\x04\x02\x01a\x01b\x01a\x01c"),
        ("a member with two scores", b"\x05\x02\x01a\0\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\xf0\x3f"),
        ("a score that is none", b"\x05\x01\x01a\0\0\0\0\0\0\xf8\x7f"),
        ("a text that is no score", b"\x03\x01\x01a\x01x"),
        ("a count beyond the end", b"\x02\x81\x7f\xff\xff\xff\xff\xff\xff\xff"),
        ("a string beyond the end", b"\x00\x80\xff\xff\xff\xff"),
        ("integers that do not ascend", b"\x0b\x0c\x02\0\0\0\x02\0\0\0\x05\0\x05\0"),
        ("a compressed string of another length", b"\x00\xc3\x05\x0d\x00a\xe0\x04\x00"),
        ("a compressed string from before its start", b"\x00\xc3\x05\x0e\x00a\xe0\x04\x01"),
        ("a listpack with a wrong length", b"\x14\x0a\x0b\0\0\0\x01\0\x81a\x02\xff"),
        ("an odd number of fields", b"\x10\x0a\x0a\0\0\0\x01\0\x81a\x02\xff"),
        ("a module", b"\x07\x00"),
        ("no type", b""),
    ] {
        assert_eq!(restore(&cluster, "k", &payload(body, 10)), "-ERR Bad data format", "{why}");
    }
    let good = payload(b"\x00\x03abc", 11);
    assert_eq!(restore(&cluster, "k", &payload(b"\x00\x03abc", 12)), "-ERR DUMP payload version or checksum are wrong");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert_eq!(restore(&cluster, "k", &bad), "-ERR DUMP payload version or checksum are wrong", "byte {at}");
    }
    check(
        &cluster,
        r#"
        EXISTS k                     => :0
        DUMP k                       => $-1
        RESTORE k 0 x                => -ERR DUMP payload version or checksum are wrong
        RESTORE k -1 x               => -ERR Invalid TTL value, must be >= 0
        RESTORE k 0 x FREQ 300       => -ERR Invalid FREQ value, must be >= 0 and <= 255
        RESTORE k 0 x IDLETIME -1    => -ERR Invalid IDLETIME value, must be >= 0
        RESTORE k 0 x IDLETIME 1 FREQ 1 => -ERR syntax error
        RESTORE k 0 x BOGUS          => -ERR syntax error
        "#,
    );
}

#[test]
fn times_and_options_of_restore() {
    let cluster = FakeCluster::new::<Redis>(1, 1);
    cluster.with_partition(0, |partition| partition.now_us = 5_000_000);
    let good = payload(b"\x00\x03abc", 10);
    let restore = |words: &[&[u8]]| text(&send(&cluster, &encode(&[&[&b"RESTORE"[..], b"k"][..], words].concat())));
    assert_eq!(restore(&[b"2000", &good]), "+OK");
    assert_eq!(run(&cluster, "PTTL k"), ":2000");
    assert_eq!(restore(&[b"0", &good]), "-BUSYKEY Target key name already exists.");
    assert_eq!(restore(&[b"9000", &good, b"REPLACE", b"ABSTTL", b"IDLETIME", b"5"]), "+OK");
    assert_eq!(run(&cluster, "PEXPIRETIME k"), ":9000");
    assert_eq!(restore(&[b"0", &good, b"REPLACE", b"FREQ", b"5"]), "+OK");
    assert_eq!(run(&cluster, "PTTL k"), ":-1");
    assert_eq!(restore(&[b"1", &good, b"REPLACE", b"ABSTTL"]), "+OK");
    assert_eq!(run(&cluster, "EXISTS k"), ":0");
    // A large one, of which nothing stays when it goes.
    let members: String = (0..500).map(|number| format!(" {number} m{number}")).collect();
    run(&cluster, &format!("ZADD z{members}"));
    let dumped = bulk(&send(&cluster, &encode(&[b"DUMP", b"z"])));
    assert_eq!(text(&send(&cluster, &encode(&[b"RESTORE", b"z", b"0", &dumped, b"REPLACE"]))), "+OK");
    assert_eq!(run(&cluster, "ZRANK z m321\nZCARD z\nDEL z"), ":321 :500 :1");
    cluster.advance::<Redis>(1000);
    assert_eq!(cluster.with_partition(0, |partition| partition.rows().len()), 0);
}

#[test]
/// Fails if a payload with damage anywhere makes a decoder panic, or what is read does not survive being written.
fn damaged_payloads_are_read_or_refused() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    };
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/dump");
    let mut inputs = 0;
    for entry in std::fs::read_dir(corpus).expect("the corpus of the fuzz target") {
        let whole = std::fs::read(entry.expect("an entry").path()).expect("an input");
        assert_eq!(
            restore(&FakeCluster::new::<Redis>(1, 1), "k", &payload(&whole, 10)),
            "+OK",
            "an input is a payload"
        );
        inputs += 1;
        crate::dump::fuzz(&whole);
        for _ in 0..2_000 {
            let mut damaged = whole.clone();
            for _ in 0..=below(3) {
                let at = below(damaged.len());
                match below(4) {
                    0 => damaged.truncate(at.max(1)),
                    1 => damaged.insert(at, below(256) as u8),
                    2 => damaged[at] = [0, 1, 0x7f, 0x80, 0x81, 0xc3, 0xfe, 0xff][below(8)],
                    _ => damaged[at] ^= 1 << below(8),
                }
            }
            crate::dump::fuzz(&damaged);
        }
    }
    assert!(inputs >= 15);
}
