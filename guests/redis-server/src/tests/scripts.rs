//! Scripts: their replies are those of a real server, and what is ours about them.

use super::*;

/// Reads `\n` and the like of a golden file.
fn shown(reply: &[u8]) -> String {
    reply
        .iter()
        .map(|byte| match byte {
            b'\n' => "\\n".to_owned(),
            b'\r' => "\\r".to_owned(),
            b'\t' => "\\t".to_owned(),
            b'"' | b'\'' | b'\\' => format!("\\{}", char::from(*byte)),
            32..127 => char::from(*byte).to_string(),
            other => format!("\\x{other:02x}"),
        })
        .collect()
}

/// A file of scripts, one a line, and one of the replies of Redis 7.0.15 to them.
const CASES: [(&str, &str, &str); 3] = [
    ("cases", include_str!("cases/cases.lua"), include_str!("cases/cases.golden")),
    ("more", include_str!("cases/more.lua"), include_str!("cases/more.golden")),
    ("libs", include_str!("cases/libs.lua"), include_str!("cases/libs.golden")),
];

/// A cluster of one partition, on which any keys are together.
fn single() -> FakeCluster {
    FakeCluster::new::<Redis>(1, 1)
}

/// What EVAL of a script with keys `k1` and `k2` and arguments `a1` and `17` answers.
fn eval(router: &dyn Router, script: &str) -> Vec<u8> {
    send(router, &encode(&[b"EVAL", script.as_bytes(), b"2", b"k1", b"k2", b"a1", b"17"]))
}

/// Replies that are otherwise than Redis', and why.
const DEPARTURES: &[(&str, &str)] = &[
    ("return tostring(0/0)", "what is not a number has no sign"),
    ("local ok,e=pcall(function() ('x')() end) return e", "the machine names the constant"),
    ("return tostring(getmetatable(_G))", "an address"),
    ("local t={} t[nil]=1", "the machine's error has no place"),
    ("local t={} t[0/0]=1", "the machine's error has no place"),
    (
        "local t={} for i=1,260 do t[#t+1]='local a'..i..'=1' end local f,e=loadstring(table.concat(t,'\\010')) return e",
        "the compiler's text of later versions of Lua",
    ),
    (
        "local t={} for i=1,20 do t['k'..i]=i end local s={} for k in pairs(t) do s[#s+1]=k end return s",
        "the order of pairs",
    ),
    ("return tostring(5 % 0) .. tostring(-5 % 0)", "what is not a number has no sign"),
    (
        "return tostring(5.3 % -2) .. '|' .. tostring(-5.3 % 2) .. '|' .. tostring(5 % math.huge) .. '|' .. tostring(-5 % math.huge)",
        "the remainder is that of later versions of Lua",
    ),
    ("return {string.gsub('abc', ')', 'x')}", "a pattern that closes what it has not opened matches nothing"),
    ("local ok, err = pcall(unpack) return err", "a function of the prelude has its name"),
    (
        "local co = coroutine.wrap(function() pcall(function() coroutine.yield(1) end) return 2 end) return {pcall(co)}",
        "pcall can be left by yield, as in later versions of Lua",
    ),
    (
        "local t = {} for k in pairs(_G) do t[#t+1] = k end table.sort(t) return t",
        "__redis__err__handler is absent: the handler is not of Lua",
    ),
    (
        "return tostring(cjson.decode('null') == cjson.null) .. tostring(cjson.decode('[null]')[1])",
        "the null pointer is written 0x0",
    ),
];

#[test]
/// Fails if a reply is not that of Redis, or if one of the known departures has become it.
fn replies_to_scripts_are_those_of_redis() {
    let mut wrong = Vec::new();
    for (file, scripts, golden) in CASES {
        let cluster = single();
        let scripts = scripts.lines().filter(|line| !line.is_empty() && !line.starts_with("--"));
        for (script, expected) in scripts.zip(golden.lines()) {
            let reply = shown(&eval(&cluster, &script.replace("\\n", "\n")));
            let departs = DEPARTURES.iter().any(|(known, _)| *known == script);
            if (reply == expected) == departs {
                wrong.push(format!("{file}: {script}\n   redis: {expected}\n   here:  {reply}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} replies:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
/// Fails if a script that tries to break out or to exhaust breaks the engine for those after it.
fn tricks_leave_the_engine_whole() {
    let cluster = single();
    for script in include_str!("cases/tricks.lua").lines() {
        let reply = eval(&cluster, script);
        assert!(reply.ends_with(b"\r\n") && b"+-:$*".contains(&reply[0]), "{script}: {}", shown(&reply));
        let probe = "return {KEYS[1], ARGV[2], string.rep('a', 3), redis.call('echo', 5), _G.redis == redis and 1, ('x'):upper()}";
        let after = text(&eval(&cluster, probe));
        assert_eq!(after, "*6 $2 k1 $2 17 $3 aaa $1 5 :1 $1 X", "after {script}");
    }
}

#[test]
/// Fails if a script without an end does not end, if pcall can hold it up, or if what it has written stays.
fn a_script_without_an_end_is_stopped_and_writes_nothing() {
    let cluster = single();
    for script in [
        "redis.call('set', KEYS[1], 'v') while true do end",
        "redis.call('set', KEYS[1], 'v') while true do pcall(function() while true do end end) end",
        "redis.call('set', KEYS[1], 'v') return string.find(string.rep('a', 300), string.rep('a-', 300) .. 'b')",
        "redis.call('set', KEYS[1], 'v') local co = coroutine.wrap(function() while true do end end) co()",
    ] {
        let reply = text(&eval(&cluster, script));
        assert_eq!(
            reply, "-ERR the script was stopped after 10 million instructions: do less at a time; nothing was written",
            "{script}"
        );
        assert_eq!(run(&cluster, "GET k1"), "$-1", "{script}");
        assert_eq!(text(&eval(&cluster, "return 1")), ":1");
    }
    let reply = text(&eval(&cluster, "redis.call('set', KEYS[1], 'v') local t = {} while true do t[#t + 1] = {} end"));
    assert_eq!(reply, "-ERR the script uses more memory than a script may: handle less at a time; nothing was written");
    assert_eq!(run(&cluster, "GET k1"), "$-1");
    // An error of the script's own leaves what it has written, as in Redis.
    assert!(text(&eval(&cluster, "redis.call('set', KEYS[1], 'v') error('no')")).starts_with("-ERR user_script:1: no"));
    assert_eq!(run(&cluster, "GET k1"), "$1 v");
}

#[test]
/// Fails if recursion of any kind ends more than the script.
fn deep_recursion_is_an_error_of_the_script() {
    let cluster = single();
    for script in [
        "local function f() return 1 + f() end return f()",
        "local function f() return pcall(f) end return {f()}",
        "local function f() return (string.gsub('x', 'x', f)) end return f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k .. 'x'] end return t.x",
        "local function r() return coroutine.wrap(r)() end return {pcall(r)}",
        "local function f() table.sort({1, 2, 3}, f) end return f()",
    ] {
        let reply = text(&eval(&cluster, script));
        assert!(reply.starts_with('-') || reply.starts_with('*'), "{script}: {reply}");
        assert_eq!(text(&eval(&cluster, "return 1")), ":1");
    }
}

/// A command of these words.
fn command(router: &dyn Router, words: &[&str]) -> String {
    text(&send(router, &encode(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>())))
}

const COUNT: &str = "return redis.call('incr', KEYS[1])";

/// The digest of [`COUNT`], by which clients know it.
fn count_sha() -> String {
    crate::scripts::hexadecimal(&crate::scripts::sha1_of(COUNT.as_bytes()))
}

#[test]
/// Fails if a loaded script is not known on every partition, to other connections, or after its instance has gone.
fn a_loaded_script_runs_on_every_partition() {
    let (cluster, sha) = (cluster(), count_sha());
    assert_eq!(command(&cluster, &["EVALSHA", &sha, "1", "a"]), "-NOSCRIPT No matching script. Please use EVAL.");
    assert_eq!(command(&cluster, &["SCRIPT", "EXISTS", &sha, "zz"]), "*2 :0 :0");
    assert_eq!(command(&cluster, &["SCRIPT", "LOAD", COUNT]), format!("$40 {sha}"));
    assert_eq!(command(&cluster, &["SCRIPT", "EXISTS", &sha.to_uppercase(), "zz", &"0".repeat(40)]), "*3 :1 :0 :0");
    for round in 1..=2 {
        for number in 0..40 {
            assert_eq!(command(&cluster, &["EVALSHA", &sha, "1", &format!("key:{number}")]), format!(":{round}"));
        }
        crate::scripts::forget_engine();
    }
    // The second time it was on each partition, and one call ran it.
    let calls = cluster.calls();
    command(&cluster, &["EVALSHA", &sha, "1", "key:7"]);
    assert_eq!(cluster.calls(), calls + 1);
    assert_eq!(command(&cluster, &["FLUSHALL"]), "+OK");
    assert_eq!(command(&cluster, &["EVALSHA", &sha, "1", "key:7"]), ":1", "scripts are no keys");
    assert_eq!(command(&cluster, &["SCRIPT", "FLUSH"]), "+OK");
    for number in 0..40 {
        let reply = command(&cluster, &["EVALSHA", &sha, "1", &format!("key:{number}")]);
        assert!(reply.starts_with("-NOSCRIPT "), "{reply}");
    }
}

#[test]
/// Fails if EVAL does not make a script known for EVALSHA, also where it only reads.
fn eval_makes_a_script_known() {
    for eval in ["EVAL", "EVAL_RO"] {
        let cluster = cluster();
        let script = "return redis.call('get', KEYS[1])";
        let sha = crate::scripts::hexadecimal(&crate::scripts::sha1_of(script.as_bytes()));
        run(&cluster, "MSET a 1 b 2 c 3");
        assert_eq!(command(&cluster, &[eval, script, "1", "a"]), "$1 1");
        assert_eq!(command(&cluster, &["SCRIPT", "EXISTS", &sha]), "*1 :1");
        for (evalsha, key, value) in [("EVALSHA_RO", "b", "2"), ("EVALSHA", "c", "3"), ("EVALSHA_RO", "c", "3")] {
            assert_eq!(command(&cluster, &[evalsha, &sha, "1", key]), format!("$1 {value}"));
        }
    }
}

#[test]
/// Fails if the reply to wrong arguments is not that of Redis.
fn wrong_arguments_are_refused_as_redis_refuses_them() {
    let cluster = cluster();
    for (words, reply) in [
        (&["EVAL", "return 1", "a"][..], "-ERR value is not an integer or out of range"),
        (&["EVAL", "return 1", "2", "x"], "-ERR Number of keys can't be greater than number of args"),
        (&["EVAL", "return 1", "-1"], "-ERR Number of keys can't be negative"),
        (&["EVALSHA", "abc", "0"], "-NOSCRIPT No matching script. Please use EVAL."),
        (
            &["EVAL", "return (", "0"],
            "-ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'",
        ),
        (&["EVAL", "#!lua flags=bad\nreturn 1", "0"], "-ERR Unexpected flag in script shebang: bad"),
        (&["EVAL", "#!foo\nreturn 1", "0"], "-ERR Unexpected engine in script shebang: #!foo"),
        (&["EVAL", "#!lua name=x\nreturn 1", "0"], "-ERR Unknown lua shebang option: name=x"),
        (&["EVAL", "#!lua", "0"], "-ERR Invalid script shebang"),
        (&["EVAL_RO", "#!lua\nreturn 1", "0"], "-ERR Can not execute a script with write flag using *_ro command."),
        (&["EVAL_RO", "#!lua flags=no-writes\nreturn 1", "0"], ":1"),
        (&["EVAL", "#!lua flags=no-writes\nreturn 1", "0"], ":1"),
        (&["SCRIPT", "EXISTS"], "-ERR wrong number of arguments for 'script|exists' command"),
        (&["SCRIPT", "LOAD"], "-ERR wrong number of arguments for 'script|load' command"),
        (&["SCRIPT", "FLUSH", "x"], "-ERR SCRIPT FLUSH only support SYNC|ASYNC option"),
        (&["SCRIPT", "FLUSH", "SYNC"], "+OK"),
        (&["SCRIPT", "KILL"], "-NOTBUSY No scripts in execution right now."),
        (&["SCRIPT", "foo"], "-ERR unknown subcommand 'foo'. Try SCRIPT HELP."),
    ] {
        assert_eq!(command(&cluster, words), reply, "{words:?}");
    }
    let compile = command(&cluster, &["SCRIPT", "LOAD", "return ("]);
    assert_eq!(compile, "-ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'");
    for script in ["redis.call('set', KEYS[1], 'v')", "redis.call('publish', 'a', 'b')"] {
        for words in [["EVAL_RO", script], ["EVAL", &format!("#!lua flags=no-writes\n{script}")]] {
            let reply = command(&cluster, &[words[0], words[1], "1", "k"]);
            assert!(
                reply.starts_with("-ERR Write commands are not allowed from read-only scripts. script: "),
                "{reply}"
            );
        }
    }
    assert!(
        command(&cluster, &["EVAL", &"-".repeat(2 << 20), "0"]).starts_with("-ERR a script may come to 1048576 bytes")
    );
}

#[test]
/// Fails if a script touches a key of another partition, or is refused one of its own.
fn keys_of_a_script_are_on_one_partition() {
    let cluster = cluster_of_one_group();
    let get = "return redis.call('get', ARGV[1])";
    run(&cluster, "MSET a 1 {a}x 2 b 3");
    assert_ne!(cluster.owner(b"a"), cluster.owner(b"b"));
    // A key with the tag of a declared one, the same key, one of the same partition by chance.
    assert_eq!(command(&cluster, &["EVAL", get, "1", "a", "{a}x"]), "$1 2");
    let near =
        (0..).map(|number| format!("n{number}")).find(|key| cluster.owner(key.as_bytes()) == cluster.owner(b"a"));
    let near = near.expect("some key is there, too");
    run(&cluster, &format!("SET {near} 4"));
    assert_eq!(command(&cluster, &["EVAL", get, "1", "a", &near]), "$1 4");
    let other = command(&cluster, &["EVAL", get, "1", "a", "b"]);
    assert!(other.starts_with("-ERR Script attempted to access the key 'b' which is not on the partition"), "{other}");
    assert!(command(&cluster, &["EVAL", "return 1", "2", "a", "b"]).starts_with("-CROSSSLOT "));
    // What it wrote before it touched that key is undone, and pcall does not help.
    let sneaky = "redis.call('set', KEYS[1], 'w') pcall(redis.call, 'set', ARGV[1], 'w') return 'done'";
    assert!(command(&cluster, &["EVAL", sneaky, "1", "a", "b"]).contains("the key 'b'"));
    assert_eq!(run(&cluster, "MGET a b"), "*2 $1 1 $1 3");
    // Without keys it runs where the first key is that it touches.
    for (key, value) in [("a", "1"), ("b", "3"), (&near[..], "4")] {
        assert_eq!(command(&cluster, &["EVAL", get, "0", key]), format!("$1 {value}"));
    }
    let many = "for i = 1, 100 do redis.call('incr', ARGV[1] .. '{' .. ARGV[1] .. '}' .. i) end return redis.call('get', ARGV[1])";
    assert_eq!(command(&cluster, &["EVAL", many, "0", "b"]), "$1 3");
    let two = "return {redis.call('get', 'a'), redis.call('get', 'b')}";
    assert!(command(&cluster, &["EVAL", two, "0"]).contains("the key 'b' which is not on the partition"));
}

#[test]
/// Fails if commands are allowed in scripts that Redis refuses, or if one that waits waits.
fn commands_that_make_no_sense_in_scripts_are_refused() {
    let cluster = single();
    for name in
        ["eval", "multi", "exec", "watch", "subscribe", "auth", "hello", "client", "config", "script", "fcall", "quit"]
    {
        let words = "'x', 'y', 'z'".split(", ").take(usize::from(!matches!(name, "multi" | "exec" | "quit")) * 3);
        let arguments: String = words.map(|word| format!(", {word}")).collect();
        let reply = text(&eval(&cluster, &format!("return redis.pcall('{name}'{arguments})")));
        let expected = [
            "-ERR This Redis command is not allowed from script",
            "-ERR Wrong number of args calling Redis command from script",
        ];
        assert!(expected.contains(&&reply[..]), "{name}: {reply}");
    }
    for name in ["keys", "scan", "dbsize", "randomkey", "flushall"] {
        let argument = if matches!(name, "keys" | "scan") { ", '0'" } else { "" };
        let reply = text(&eval(&cluster, &format!("return redis.pcall('{name}'{argument})")));
        assert!(reply.starts_with(&format!("-ERR {} asks all partitions", name.to_uppercase())), "{name}: {reply}");
    }
    assert_eq!(text(&eval(&cluster, "return redis.call('blpop', KEYS[1], 0)")), "$-1");
    assert_eq!(
        text(&eval(&cluster, "redis.call('rpush', KEYS[1], 'v') return redis.call('blpop', KEYS[1], 0)")),
        "*2 $2 k1 $1 v"
    );
}

#[test]
/// Fails if a script within MULTI is not part of the transaction.
fn scripts_run_within_multi() {
    let cluster = cluster_of_one_group();
    let sha = count_sha();
    let words = |words: &[&str]| encode(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
    let session = |commands: &[&[&str]]| {
        text(&send(&cluster, &commands.iter().flat_map(|command| words(command)).collect::<Vec<u8>>()))
    };
    let reply = session(&[
        &["MULTI"],
        &["SET", "{t}a", "5"],
        &["EVAL", COUNT, "1", "{t}a"],
        &["EVALSHA", &sha, "1", "{t}a"],
        &["EVAL", "return redis.call('get', ARGV[1])", "0", "{t}a"],
        &["EVAL", "error('no')", "0"],
        &["GET", "{t}a"],
        &["EXEC"],
    ]);
    let replies = reply.rsplit_once("+QUEUED ").expect("queued").1;
    assert!(replies.starts_with("*6 +OK :6 :7 $1 7 -ERR user_script:1: no script: "), "{replies}");
    assert!(replies.ends_with("$1 7"), "{replies}");
    let unknown = session(&[&["MULTI"], &["EVALSHA", &"0".repeat(40), "1", "{t}a"], &["EXEC"]]);
    assert!(unknown.ends_with("*1 -NOSCRIPT No matching script. Please use EVAL."), "{unknown}");
    // A key of another partition ends the whole transaction.
    let other = session(&[
        &["MULTI"],
        &["SET", "a", "9"],
        &["EVAL", "return redis.call('get', 'b')", "1", "a"],
        &["EXEC"],
        &["GET", "a"],
    ]);
    assert!(other.contains("-ERR Script attempted to access the key 'b'") && other.ends_with("$-1"), "{other}");
    let refused = session(&[&["MULTI"], &["SCRIPT", "FLUSH"], &["EXEC"]]);
    assert!(refused.contains("-ERR SCRIPT is not supported inside MULTI -EXECABORT"), "{refused}");
}

#[test]
/// Fails if what client libraries do with scripts does not work: load on demand, pipelines, RESP3.
fn client_libraries_can_use_scripts() {
    let (cluster, sha) = (cluster(), count_sha());
    // redis-py: EVALSHA in a pipeline behind SCRIPT LOAD, among other commands to the same key.
    let mut input = encode(&[b"SCRIPT", b"LOAD", COUNT.as_bytes()]);
    for _ in 0..3 {
        input.extend(encode(&[b"SET", b"n", b"1"]));
        input.extend(encode(&[b"EVALSHA", sha.as_bytes(), b"1", b"n"]));
        input.extend(encode(&[b"GET", b"n"]));
    }
    assert_eq!(text(&send(&cluster, &input)), format!("$40 {sha} {}", ["+OK :2 $1 2"; 3].join(" ")));
    // BullMQ: a prefix and a hash tag, keys that are made of a declared one, msgpack and JSON.
    let add = "local jobs = KEYS[1] local id = redis.call('INCR', jobs .. ':id') local opts = cmsgpack.unpack(ARGV[1])
        redis.call('HSET', jobs .. ':' .. id, 'data', cjson.encode(opts), 'name', opts.name)
        redis.call('ZADD', jobs .. ':delayed', opts.delay, id) redis.call('RPUSH', jobs .. ':wait', id)
        return id .. ':' .. redis.call('HGET', jobs .. ':' .. id, 'name')";
    let packed = b"\x82\xa4name\xa3job\xa5delay\x05";
    assert_eq!(text(&send(&cluster, &encode(&[b"EVAL", add.as_bytes(), b"1", b"bull:{q}", packed]))), "$5 1:job");
    assert_eq!(run(&cluster, "LRANGE bull:{q}:wait 0 -1"), "*1 $1 1");
    assert_eq!(run(&cluster, "ZSCORE bull:{q}:delayed 1"), "$1 5");
    let map = "redis.setresp(3) redis.call('hset', KEYS[1], 'f', 'v') return redis.call('hgetall', KEYS[1])";
    let mut input = encode(&[b"HELLO", b"3"]);
    for script in [map, "return {double=1.5}", "return nil", "return {1, false, 'x'}", "return {map={a=1}}"] {
        input.extend(encode(&[b"EVAL", script.as_bytes(), b"1", b"h"]));
    }
    let reply = text(&send(&cluster, &input));
    assert!(reply.ends_with("%1 $1 f $1 v ,1.5 _ *3 :1 _ $1 x %1 $1 a :1"), "{reply}");
}
