//! The same commands, at random from a seed, here and on a real `redis-server` (7.0 or later): replies and final contents must
//! be the same. Skipped with a message where no `redis-server` is installed.
//!
//! `RECOIL_REDIS_SEED=N` sets the first seed and `RECOIL_REDIS_SEEDS=N` their number. With `RECOIL_REDIS_SERVER=ADDRESS:PORT` it is
//! not a cluster in memory that is compared, but the node that serves there, whose keys are removed. Deliberately absent: what 7.0 and 7.2
//! answer differently, and what is random.

mod databases;
mod streams;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::*;
use databases::DATABASES;
use streams::STREAM;

/// A real server, which ends with this value.
pub(super) struct Reference {
    process: Child,
    folder: PathBuf,
    port: u16,
}

impl Reference {
    /// None if it is not installed.
    pub(super) fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let folder = std::env::temp_dir().join(format!("recoil-redis-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the reference server");
        let started = Command::new("redis-server")
            .env("LC_ALL", "C")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = started else {
            drop(std::fs::remove_dir_all(&folder));
            eprintln!("skipped: redis-server is not installed (apt-get install redis-server)");
            return None;
        };
        let reference = Reference { process, folder, port };
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(reference);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("redis-server did not listen within five seconds");
    }

    pub(super) fn send(&self, input: &[u8]) -> Vec<u8> {
        send_to(("127.0.0.1", self.port), input)
    }
}

/// What a test asks for behind its own commands.
const END: &[u8] = b"the replies end";

/// What a whole connection is answered.
fn send_to(address: impl ToSocketAddrs, input: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream.write_all(input).expect("commands are taken");
    // Not ended by closing, for which Redis drops what it has not sent yet.
    stream.write_all(&encode(&[b"ECHO", END])).expect("commands are taken");
    let (mut output, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
    let end = [&b"$15\r\n"[..], END, b"\r\n"].concat();
    while !output.ends_with(&end) {
        let length = stream.read(&mut chunk).expect("replies");
        assert!(length > 0, "the server has closed the connection");
        output.extend_from_slice(&chunk[..length]);
    }
    output.truncate(output.len() - end.len());
    output
}

impl Drop for Reference {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A reply, as a tree of texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Reply {
    Line(String),
    Bulk(Vec<u8>),
    Many(char, Vec<Reply>),
}

impl Reply {
    fn text(&self) -> String {
        match self {
            Reply::Line(line) => line.clone(),
            Reply::Bulk(bulk) => format!("'{}'", bulk.escape_ascii()),
            Reply::Many(kind, replies) => {
                let replies: Vec<String> = replies.iter().map(Reply::text).collect();
                format!("{kind}{}[{}]", replies.len(), replies.join(" "))
            }
        }
    }
}

/// Take one reply off the front.
fn parse(input: &mut &[u8]) -> Reply {
    let end = input.windows(2).position(|pair| pair == b"\r\n").expect("a whole line");
    let line = String::from_utf8_lossy(&input[..end]).into_owned();
    *input = &input[end + 2..];
    let count = || line[1..].parse::<i64>().expect("a length");
    match line.as_bytes()[0] {
        b'$' if count() >= 0 => {
            let (bulk, rest) = input.split_at(count() as usize);
            *input = &rest[2..];
            // Here -0 is 0, as it is in small sorted sets of Redis'.
            Reply::Bulk(if bulk == b"-0" { b"0".to_vec() } else { bulk.to_vec() })
        }
        kind @ (b'*' | b'~' | b'%') if count() >= 0 => {
            let replies = count() * if kind == b'%' { 2 } else { 1 };
            Reply::Many(char::from(kind), (0..replies).map(|_| parse(input)).collect())
        }
        _ if line == ",-0" => Reply::Line(",0".to_owned()),
        _ => Reply::Line(line),
    }
}

/// A reply whose order does not matter, in one that is the same for all.
fn sorted(command: &str, reply: Reply) -> Reply {
    // A second may begin between the two.
    if command == "TTL" && matches!(&reply, Reply::Line(line) if line.len() > 2 && !line.contains('-')) {
        return Reply::Line("some time".to_owned());
    }
    let reply = if command.starts_with('X') { streams::comparable(command, reply) } else { reply };
    let Reply::Many(kind, mut replies) = reply else { return reply };
    match command {
        "HGETALL" => {
            let mut pairs: Vec<_> = replies.chunks(2).map(<[Reply]>::to_vec).collect();
            pairs.sort();
            replies = pairs.concat();
        }
        "KEYS" | "HKEYS" | "HVALS" | "SMEMBERS" | "SINTER" | "SUNION" | "SDIFF" | "GEORADIUS" | "GEOSEARCH" => {
            replies.sort()
        }
        _ => {}
    }
    Reply::Many(kind, replies)
}

/// The course of a test.
struct Course(u64);

impl Course {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// What a placeholder of a template stands for. `domain` is the number of different elements.
    fn word(&mut self, placeholder: &str, kind: &str, domain: u64) -> String {
        match placeholder {
            "K" => format!("{{t}}{kind}{}", self.below(3)),
            // Now and then a key of another type.
            "Y" => format!("{{t}}{}{}", self.of(&["hash", "set", "list", "zset", "string", "stream"]), self.below(3)),
            "E" => format!("e{}", self.below(domain)),
            "V" if self.below(20) == 0 => "long".repeat(20),
            "V" => self.of(&["1", "-7", "x", "9223372036854775807", "2.5", "", "v w"]).to_owned(),
            "N" => (self.below(12) as i64 - 4).to_string(),
            "I" => (self.below(2 * domain) as i64 - domain as i64).to_string(),
            "S" => self.of(&["0", "1", "-1", "2", "3.5", "-2.5", "100", "inf", "-inf", "x"]).to_owned(),
            "B" => self.of(&["-inf", "+inf", "0", "(0", "1", "(1", "2", "3.5", "(3.5", "-1", "nan"]).to_owned(),
            "X" => match self.below(6) {
                0 => "-".to_owned(),
                1 => "+".to_owned(),
                2 => "bad".to_owned(),
                3 => format!("({}", self.word("E", kind, domain)),
                _ => format!("[{}", self.word("E", kind, domain)),
            },
            "D" => format!("7-{}", self.below(2 * domain)),
            "P" => self.of(&["", "("]).to_owned() + &self.word("D", kind, domain),
            "Z" => self.of(&["0", "1", "2", "3", "15", "16", "x"]).to_owned(),
            "W" => self.of(&["LEFT", "RIGHT"]).to_owned(),
            "T" => self.of(&["u8", "i5", "u1", "i64", "u63", "i33", "u64"]).to_owned(),
            "O" => self.of(&["0", "3", "#1", "100", "17"]).to_owned(),
            word => word.to_owned(),
        }
    }
}

const HASH: &[&str] = &[
    "HSET K E V",
    "HSET K E V E V E V",
    "HSET Y E V",
    "HSETNX K E V",
    "HMSET K E V E V",
    "HGET K E",
    "HMGET K E E E",
    "HGETALL K",
    "HKEYS K",
    "HVALS K",
    "HLEN K",
    "HEXISTS K E",
    "HSTRLEN K E",
    "HDEL K E E",
    "HINCRBY K E N",
    "HINCRBYFLOAT K float N",
    "HINCRBYFLOAT K float S",
    "HSET K E",
    "DEL K",
    "RENAME K K",
    "COPY K K REPLACE",
    "TYPE Y",
    "OBJECT ENCODING K",
    "EXISTS K K",
    "HRANDFIELD K 0",
];

const SET: &[&str] = &[
    "SADD K E",
    "SADD K E E E E E",
    "SADD Y E",
    "SREM K E E",
    "SISMEMBER K E",
    "SMISMEMBER K E E",
    "SCARD K",
    "SMEMBERS K",
    "SMOVE K K E",
    "SINTER K K",
    "SUNION K K K",
    "SDIFF K K",
    "SDIFF K K K",
    "SINTERSTORE K K K",
    "SUNIONSTORE K K K",
    "SDIFFSTORE K K K",
    "SINTERCARD 2 K K",
    "SINTERCARD 2 K K LIMIT N",
    "SINTER K Y",
    "DEL K",
    "RENAME K K",
    "COPY K K",
    "SRANDMEMBER K 0",
    "SORT K ALPHA",
    "SORT K BY {t}string0* GET {t}hash0->e1 GET # LIMIT 0 0",
    "SORT K BY nosort STORE {t}sorted",
    "LRANGE {t}sorted 0 -1",
    "SPOP K 0",
    "EXPIRE K 100",
    "TTL K",
];

const LIST: &[&str] = &[
    "LPUSH K E",
    "RPUSH K E E E",
    "LPUSH K E E",
    "RPUSH K V",
    "LPUSHX K E",
    "RPUSHX K E",
    "LPOP K",
    "RPOP K",
    "LPOP K N",
    "RPOP K N",
    "LLEN K",
    "LINDEX K I",
    "LSET K I V",
    "LRANGE K I I",
    "LRANGE K 0 -1",
    "LTRIM K N I",
    "LREM K N E",
    "LINSERT K BEFORE E V",
    "LINSERT K AFTER E E",
    "LPOS K E",
    "LPOS K E RANK N",
    "LPOS K E COUNT N MAXLEN N",
    "LMOVE K K W W",
    "RPOPLPUSH K K",
    "LMPOP 2 K K W COUNT N",
    "LMPOP 2 K Y W",
    "SORT K ALPHA",
    "SORT K ALPHA DESC LIMIT N N",
    "SORT K",
    "SORT K BY nosort GET # LIMIT I N",
    "SORT K ALPHA STORE K",
    "SORT Y ALPHA",
    "RPUSH Y E",
    "DEL K",
    "RENAME K K",
];

const ZSET: &[&str] = &[
    "ZADD K S E",
    "ZADD K N E N E N E",
    "ZADD K NX N E",
    "ZADD K XX CH N E N E",
    "ZADD K GT CH N E",
    "ZADD K LT N E",
    "ZADD K INCR N E",
    "ZADD K GT INCR N E",
    "ZADD K XX GT LT N E",
    "ZADD Y N E",
    "ZINCRBY K S E",
    "ZREM K E E",
    "ZCARD K",
    "ZSCORE K E",
    "ZMSCORE K E E",
    "ZRANK K E",
    "ZREVRANK K E",
    "ZCOUNT K B B",
    "ZRANGE K I I",
    "ZRANGE K I I WITHSCORES",
    "ZRANGE K I I REV",
    "ZRANGE K B B BYSCORE WITHSCORES",
    "ZRANGE K B B BYSCORE REV LIMIT N N",
    "ZREVRANGE K I I",
    "ZRANGEBYSCORE K B B",
    "ZRANGEBYSCORE K B B WITHSCORES LIMIT N N",
    "ZREVRANGEBYSCORE K B B LIMIT N N",
    "ZRANGESTORE K K I I",
    "ZRANGESTORE K K B B BYSCORE LIMIT N N",
    "ZREMRANGEBYRANK K N N",
    "ZREMRANGEBYSCORE K B B",
    "ZPOPMIN K",
    "ZPOPMAX K N",
    "ZMPOP 2 K K MIN COUNT N",
    "ZMPOP 2 K K MAX",
    "ZUNION 2 K K WITHSCORES",
    "ZUNION 3 K K K WEIGHTS N N N AGGREGATE MAX WITHSCORES",
    "ZINTER 2 K K AGGREGATE MIN WITHSCORES",
    "ZDIFF 2 K K WITHSCORES",
    "ZUNIONSTORE K 2 K K WEIGHTS N N",
    "ZINTERSTORE K 2 K K",
    "ZDIFFSTORE K 2 K K",
    "ZINTERCARD 2 K K LIMIT N",
    "ZUNION 2 K Y",
    "DEL K",
    "RENAME K K",
    "COPY K K REPLACE",
    "OBJECT ENCODING K",
];

/// Members of one score, which is what ranges of names are for.
const LEX: &[&str] = &[
    "SORT K ALPHA DESC LIMIT N N",
    "SORT K BY nosort",
    "SORT K BY nosort DESC LIMIT N N",
    "SORT_RO K",
    "ZADD K 0 E 0 E",
    "ZREM K E",
    "ZRANGEBYLEX K X X",
    "ZREVRANGEBYLEX K X X",
    "ZRANGEBYLEX K X X LIMIT N N",
    "ZLEXCOUNT K X X",
    "ZREMRANGEBYLEX K X X",
    "ZRANGE K X X BYLEX REV LIMIT N N",
    "ZRANGESTORE K K X X BYLEX",
    "ZRANGE K 0 -1",
];

const STRING: &[&str] = &[
    "SETBIT K I N",
    "SETBIT K 7 1",
    "SETBIT K 77 1",
    "GETBIT K I",
    "BITCOUNT K",
    "BITCOUNT K I I",
    "BITCOUNT K I I BIT",
    "BITPOS K 1",
    "BITPOS K 0 I",
    "BITPOS K 1 I I",
    "BITPOS K 0 I I BIT",
    "BITPOS K N",
    "BITOP AND K K K",
    "BITOP OR K K K",
    "BITOP XOR K K K",
    "BITOP NOT K K",
    "BITFIELD K SET T O N GET T O",
    "BITFIELD K OVERFLOW SAT INCRBY T O N INCRBY T O N",
    "BITFIELD K OVERFLOW FAIL INCRBY T O V",
    "BITFIELD K INCRBY T O N",
    "BITFIELD_RO K GET T O",
    "LCS K K",
    "LCS K K LEN",
    "LCS K K IDX WITHMATCHLEN",
    "APPEND K V",
    "SETRANGE K N V",
    "GETRANGE K I I",
    "STRLEN K",
    "GET K",
    "DEL K",
    "SET K V",
    "INCRBY K N",
];

/// Commands of every type in scripts. A tab is the white space of Lua here: spaces part words.
const SCRIPT: &[&str] = &[
    "EVAL return\tredis.call('set',KEYS[1],ARGV[1]) 1 K V",
    "EVAL return\tredis.call('set',KEYS[1],ARGV[1],'GET','KEEPTTL') 1 K V",
    "EVAL return{redis.call('get',KEYS[1]),redis.call('strlen',KEYS[1])} 1 K",
    "EVAL return\tredis.call('incrby',KEYS[1],ARGV[1]) 1 K N",
    "EVAL return\tredis.call('incrby',KEYS[1],tonumber(ARGV[1])+1) 1 K N",
    "EVAL return\tredis.pcall('append',KEYS[1],ARGV[1]) 1 K V",
    "EVAL return\tredis.call('mget',KEYS[1],KEYS[2]) 2 K K",
    "EVAL return\tredis.call('mset',KEYS[1],ARGV[1],KEYS[2],ARGV[2]) 2 K K V V",
    "EVAL return\tredis.call('msetnx',KEYS[1],1,KEYS[2],2) 2 K K",
    "EVAL return{redis.pcall('hset',KEYS[1],ARGV[1],ARGV[2]),redis.pcall('hget',KEYS[1],ARGV[1])} 1 K E V",
    "EVAL return\tredis.call('hincrby',KEYS[1],ARGV[1],ARGV[2]) 1 K E N",
    "EVAL return{redis.call('hmget',KEYS[1],ARGV[1],ARGV[2]),redis.call('hlen',KEYS[1])} 1 K E E",
    "EVAL redis.setresp(3)\tlocal\tr=redis.pcall('hgetall',KEYS[1])\treturn\tr.map\tand\tr.map[ARGV[1]] 1 K E",
    "EVAL return{redis.call('sadd',KEYS[1],unpack(ARGV)),redis.call('scard',KEYS[1])} 1 K E E E",
    "EVAL return{redis.call('sismember',KEYS[1],ARGV[1]),redis.call('srem',KEYS[1],ARGV[2])} 1 K E E",
    "EVAL local\tr=redis.call('smembers',KEYS[1])\ttable.sort(r)\treturn\tr 1 K",
    "EVAL return{redis.call('rpush',KEYS[1],unpack(ARGV)),redis.call('lrange',KEYS[1],0,-1)} 1 K E V E",
    "EVAL return{redis.call('lpop',KEYS[1]),redis.call('rpop',KEYS[1],2),redis.call('llen',KEYS[1])} 1 K",
    "EVAL return\tredis.call('lmove',KEYS[1],KEYS[2],ARGV[1],ARGV[2]) 2 K K W W",
    "EVAL return{redis.call('zadd',KEYS[1],ARGV[1],ARGV[2]),redis.call('zrange',KEYS[1],0,-1,'WITHSCORES')} 1 K N E",
    "EVAL return{redis.call('zrank',KEYS[1],ARGV[1]),redis.call('zscore',KEYS[1],ARGV[1]),redis.call('zcard',KEYS[1])} 1 K E",
    "EVAL return\tredis.call('zpopmin',KEYS[1]) 1 K",
    "EVAL redis.setresp(3)\treturn\tredis.call('zscore',KEYS[1],ARGV[1]) 1 K E",
    "EVAL return{redis.call('setbit',KEYS[1],ARGV[1],1),redis.call('bitcount',KEYS[1])} 1 K N",
    "EVAL return{redis.call('pfadd',KEYS[1]..'h',ARGV[1]),redis.call('pfcount',KEYS[1]..'h')} 1 K E",
    "EVAL return{redis.call('del',unpack(KEYS)),redis.call('exists',unpack(KEYS))} 2 K K",
    "EVAL return{redis.call('type',KEYS[1]).ok,redis.call('exists',KEYS[1],KEYS[2],KEYS[1])} 2 K K",
    "EVAL return{redis.call('expire',KEYS[1],100),redis.call('ttl',KEYS[1]),redis.call('persist',KEYS[1])} 1 K",
    "EVAL return\tredis.call('rename',KEYS[1],KEYS[2]) 2 K K",
    "EVAL return\tredis.call('copy',KEYS[1],KEYS[2],'REPLACE') 2 K K",
    "EVAL local\tok,e=pcall(redis.call,'incr',KEYS[1])\treturn{tostring(ok),tostring(e)} 1 K",
    "EVAL redis.call('set',KEYS[1],ARGV[1])\terror('stop') 1 K V",
    "EVAL return\tcjson.encode({redis.call('get',KEYS[1]),ARGV}) 1 K V E",
    "EVAL return{cmsgpack.unpack(cmsgpack.pack(redis.pcall('lrange',KEYS[1],0,-1),ARGV[1]))} 1 K V",
    "EVAL return\tredis.call('nosuch') 0",
    "EVAL return\tredis.call('get') 0",
    "EVAL_RO return\tredis.call('get',KEYS[1]) 1 K",
    "EVAL_RO return\tredis.call('set',KEYS[1],1) 1 K",
    "EVAL return\t{tonumber(ARGV[1]),ARGV[1]..'x',#ARGV[1]} 0 V",
    "EVAL math.randomseed(ARGV[1])\treturn{math.random(100),math.random(5,9)} 0 N",
    "DEL K",
    "SET K V",
    "RPUSH K E",
    "HSET K E V",
];

const SKETCH: &[&str] = &[
    "PFADD K E E E",
    "PFADD K E",
    "PFADD K",
    "PFCOUNT K",
    "PFCOUNT K K K",
    "PFMERGE K K K",
    "PFMERGE K",
    "DEL K",
    "PFADD K V",
];

/// A key of every other type, and large collections where there are elements enough.
fn first_contents(kind: &str, domain: u64, one_score: bool) -> Vec<String> {
    let others = [
        ("hash", "HSET {t}hash0 e1 v"),
        ("set", "SADD {t}set0 e1"),
        ("list", "RPUSH {t}list0 e1"),
        ("zset", "ZADD {t}zset0 1 e1"),
        ("stream", "XADD {t}stream0 1-1 e1 v"),
    ];
    let mut commands: Vec<String> =
        others.iter().filter(|(other, _)| *other != kind).map(|(_, command)| (*command).to_owned()).collect();
    let elements = |format: fn(u64) -> String| (0..domain * 2 / 3).map(format).collect::<String>();
    for number in 0..if domain > 100 { 3 } else { 0 } {
        match kind {
            "hash" => {
                commands.push(format!("HSET {{t}}hash{number}{}", elements(|number| format!(" e{number} {number}"))))
            }
            "set" => commands.push(format!("SADD {{t}}set{number}{}", elements(|number| format!(" e{number}")))),
            "list" => {
                commands.push(format!("RPUSH {{t}}list{number}{}", elements(|number| format!(" e{}", number % 50))))
            }
            "zset" if one_score => {
                commands.push(format!("ZADD {{t}}zset{number}{}", elements(|number| format!(" 0 e{number}"))));
            }
            "zset" => commands
                .push(format!("ZADD {{t}}zset{number}{}", elements(|number| format!(" {} e{number}", number % 7)))),
            _ => {}
        }
    }
    commands
}

fn final_contents(kind: &str) -> Vec<String> {
    let commands: &[&str] = match kind {
        "hash" => &["HGETALL"],
        "set" => &["SMEMBERS"],
        "list" => &["LRANGE 0 -1"],
        "zset" => &["ZRANGE 0 -1 WITHSCORES"],
        "stream" => &["XRANGE - +", "XINFO STREAM"],
        "sketch" => &["PFCOUNT"],
        _ => &["GET"],
    };
    let mut all = Vec::new();
    for number in 0..3 {
        for command in commands {
            let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
            all.push(match *command {
                "XINFO STREAM" => format!("{command} {{t}}{kind}{number}"),
                _ => format!("{name} {{t}}{kind}{number} {rest}").trim_end().to_owned(),
            });
        }
        all.push(format!("TTL {{t}}{kind}{number}"));
    }
    all
}

/// Words of a command; an empty one where two spaces meet would be none of ours.
fn split(command: &str) -> Vec<&[u8]> {
    command.split('\u{1f}').map(str::as_bytes).collect()
}

#[track_caller]
fn compare(reference: &Reference, seed: u64, kind: &str, templates: &[&str], domain: u64, count: usize) {
    let cluster = FakeCluster::new::<Redis>(1, 1);
    let mut course = Course(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    (0..10).for_each(|_| _ = course.below(2));
    let mut commands = vec!["FLUSHALL".to_owned()];
    commands.extend(
        first_contents(kind, domain, std::ptr::eq(templates, LEX)).iter().map(|command| command.replace(' ', "\u{1f}")),
    );
    for _ in 0..count {
        let template = course.of(templates);
        if domain > 100
            && ["DEL", "RENAME", "COPY"].iter().any(|name| template.starts_with(name))
            && course.below(8) > 0
        {
            continue; // large collections would never stay
        }
        let words: Vec<String> = template.split(' ').map(|word| course.word(word, kind, domain)).collect();
        commands.push(words.join("\u{1f}"));
    }
    commands.extend(final_contents(kind).iter().map(|command| command.replace(' ', "\u{1f}")));
    for resp3 in [false, true] {
        let mut input = Vec::new();
        if resp3 {
            input.extend(encode(&[b"HELLO", b"3"]));
        }
        commands.iter().for_each(|command| input.extend(encode(&split(command))));
        let ours = match std::env::var("RECOIL_REDIS_SERVER") {
            Ok(address) => send_to(&*address, &input),
            Err(_) => send(&cluster, &input),
        };
        let theirs = reference.send(&input);
        let (mut ours, mut theirs) = (&ours[..], &theirs[..]);
        if resp3 {
            parse(&mut ours);
            parse(&mut theirs);
        }
        for (number, command) in commands.iter().enumerate() {
            let name = command.split('\u{1f}').next().unwrap_or_default();
            let (ours, theirs) = (sorted(name, parse(&mut ours)), sorted(name, parse(&mut theirs)));
            let shown = command.replace('\u{1f}', " ");
            if ours != theirs {
                let (ours, theirs) = (ours.text(), theirs.text());
                let same = ours.bytes().zip(theirs.bytes()).take_while(|(left, right)| left == right).count();
                let from = |text: &str| text.chars().skip(same.saturating_sub(60)).take(120).collect::<String>();
                panic!(
                    "seed {seed}, {kind} {domain}, command {number}, RESP3 {resp3}: {shown}\nours, from {same}: {}\ntheirs: {}",
                    from(&ours),
                    from(&theirs)
                );
            }
        }
        assert!(ours.is_empty() && theirs.is_empty());
        cluster.advance::<Redis>(1_000_000);
    }
}

#[test]
/// Fails if any reply differs from that of a real server.
fn replies_are_those_of_a_real_server() {
    let Some(reference) = Reference::start() else { return };
    let setting =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (first, seeds) = (setting("RECOIL_REDIS_SEED", 1), setting("RECOIL_REDIS_SEEDS", 1));
    for seed in first..first + seeds {
        for (kind, templates) in [
            ("hash", HASH),
            ("set", SET),
            ("list", LIST),
            ("zset", ZSET),
            ("zset", LEX),
            ("string", STRING),
            ("sketch", SKETCH),
            ("script", SCRIPT),
            ("stream", STREAM),
            ("string", DATABASES),
        ] {
            // Few elements stay inline, many become rows.
            for domain in [12, 400] {
                compare(&reference, seed, kind, templates, domain, 600);
            }
        }
    }
}
