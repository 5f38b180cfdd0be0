//! Functions and their libraries.

use super::*;

fn command(router: &dyn Router, words: &[&str]) -> String {
    text(&send(router, &encode(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>())))
}

fn load(router: &dyn Router, library: &str) -> String {
    command(router, &["FUNCTION", "LOAD", library])
}

const LIBRARY: &str = "#!lua name=mylib
local function add(keys, args) return redis.call('incrby', keys[1], args[1]) end
redis.register_function('add', add)
redis.register_function{function_name = 'peek', description = 'reads', flags = {'no-writes'}, callback = function(keys)
  return redis.call('get', keys[1])
end}
redis.register_function('oops', function() return nosuch end)
redis.register_function{function_name = 'liar', flags = {'no-writes'}, callback = function(keys) return redis.call('incr', keys[1]) end}";

#[test]
/// Fails if a loaded function cannot be called on every partition, or not after its instance has gone.
fn functions_are_known_on_every_partition() {
    let cluster = cluster();
    assert_eq!(command(&cluster, &["FCALL", "add", "1", "k", "5"]), "-ERR Function not found");
    assert_eq!(load(&cluster, LIBRARY), "$5 mylib");
    for round in 1..=2 {
        for number in 0..30 {
            let reply = command(&cluster, &["FCALL", "ADD", "1", &format!("key:{number}"), "5"]);
            assert_eq!(reply, format!(":{}", 5 * round));
        }
        crate::scripts::forget_engine();
    }
    assert_eq!(command(&cluster, &["FCALL_RO", "peek", "1", "key:3"]), "$2 10");
    assert_eq!(command(&cluster, &["FCALL", "peek", "1", "key:3"]), "$2 10");
    for (words, reply) in [
        (&["FCALL_RO", "add", "1", "k", "5"][..], "-ERR Can not execute a script with write flag using *_ro command."),
        (
            &["FCALL", "liar", "1", "k"],
            "-ERR Write commands are not allowed from read-only scripts. script: liar, on @user_function:8.",
        ),
        (
            &["FCALL", "oops", "0"],
            "-ERR user_function:7: Script attempted to access nonexistent global variable 'nosuch' script: oops, on @user_function:7.",
        ),
        (&["FCALL", "add", "x"], "-ERR Bad number of keys provided"),
        (&["FCALL", "add", "-1"], "-ERR Number of keys can't be negative"),
        (&["FCALL", "add", "3", "a"], "-ERR Number of keys can't be greater than number of args"),
    ] {
        assert_eq!(command(&cluster, words), reply, "{words:?}");
    }
    assert_eq!(command(&cluster, &["FLUSHALL"]), "+OK");
    assert_eq!(command(&cluster, &["FCALL", "add", "1", "k", "5"]), ":5", "functions are no keys");
    let multi = [&["MULTI"][..], &["FCALL", "add", "1", "k", "2"], &["GET", "k"], &["EXEC"]];
    let input: Vec<u8> =
        multi.iter().flat_map(|words| encode(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>())).collect();
    assert_eq!(text(&send(&cluster, &input)), "+OK +QUEUED +QUEUED *2 :7 $1 7");
}

#[test]
/// Fails if libraries are listed, replaced or removed otherwise than by Redis.
fn libraries_come_and_go() {
    let cluster = cluster();
    let one = |name: &str, function: &str, value: u32| {
        format!("#!lua name={name}\nredis.register_function('{function}', function() return {value} end)")
    };
    assert_eq!(load(&cluster, &one("x", "f", 1)), "$1 x");
    assert_eq!(load(&cluster, &one("x", "g", 1)), "-ERR Library 'x' already exists");
    assert_eq!(load(&cluster, &one("y", "F", 1)), "-ERR Function F already exists");
    assert_eq!(load(&cluster, &one("y", "g", 2)), "$1 y");
    let replace = |text: &str| command(&cluster, &["FUNCTION", "LOAD", "REPLACE", text]);
    assert_eq!(replace(&one("y", "f", 3)), "-ERR Function f already exists");
    assert_eq!(command(&cluster, &["FCALL", "g", "0"]), ":2");
    assert_eq!(replace(&one("y", "h", 3)), "$1 y");
    assert_eq!(command(&cluster, &["FCALL", "g", "0"]), "-ERR Function not found");
    for key in ["a", "b", "c", "d"] {
        assert_eq!(command(&cluster, &["FCALL", "h", "1", key]), ":3");
    }
    let listed =
        "*6 $12 library_name $1 y $6 engine $3 LUA $9 functions *1 *6 $4 name $1 h $11 description $-1 $5 flags *0";
    assert_eq!(command(&cluster, &["FUNCTION", "LIST", "LIBRARYNAME", "Y*"]), format!("*1 {listed}"));
    assert!(command(&cluster, &["FUNCTION", "LIST", "WITHCODE"]).contains("$12 library_code $"));
    assert_eq!(
        command(&cluster, &["FUNCTION", "STATS"]),
        "*4 $14 running_script $-1 $7 engines *2 $3 LUA *4 $15 libraries_count :2 $15 functions_count :2"
    );
    assert_eq!(command(&cluster, &["FUNCTION", "DELETE", "y"]), "+OK");
    assert_eq!(command(&cluster, &["FUNCTION", "DELETE", "y"]), "-ERR Library not found");
    assert_eq!(command(&cluster, &["FCALL", "h", "1", "c"]), "-ERR Function not found");
    assert_eq!(command(&cluster, &["FCALL", "f", "1", "c"]), ":1");
    assert_eq!(command(&cluster, &["FUNCTION", "FLUSH"]), "+OK");
    assert_eq!(command(&cluster, &["FCALL", "f", "1", "c"]), "-ERR Function not found");
    assert_eq!(command(&cluster, &["FUNCTION", "LIST"]), "*0");
}

#[test]
/// Fails if a library that is wrong is refused otherwise than by Redis, or leaves anything.
fn wrong_libraries_are_refused_as_redis_refuses_them() {
    let cluster = cluster();
    let registering = |text: &str| format!("-ERR Error registering functions: ERR {text}");
    for (library, reply) in [
        ("return 1", "-ERR Missing library metadata".to_owned()),
        ("#!lua\nreturn 1", "-ERR Library name was not given".to_owned()),
        ("#!lua name=x\nreturn 1", "-ERR No functions registered".to_owned()),
        ("#!foo name=x\nreturn 1", "-ERR Engine 'foo' not found".to_owned()),
        ("#!lua name=x bar=2\nreturn 1", "-ERR Invalid metadata value given: bar=2".to_owned()),
        (
            "#!lua name=a-b\nreturn 1",
            "-ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long".to_owned(),
        ),
        ("#!lua name=x\nreturn (", "-ERR Error compiling function: user_function:2: unexpected symbol near '<eof>'".to_owned()),
        (
            "#!lua name=x\nredis.call('get', 'x')",
            registering("user_function:2: Script attempted to access nonexistent global variable 'call'"),
        ),
        ("#!lua name=x\nlocal a = foo", registering("user_function:2: Script attempted to access nonexistent global variable 'foo'")),
        ("#!lua name=x\nfoo = 1", registering("user_function:2: Attempt to modify a readonly table")),
        (
            "#!lua name=x\nredis.register_function('f1')",
            registering(
                "calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).",
            ),
        ),
        ("#!lua name=x\nredis.register_function('f1', 1)", registering("second argument to redis.register_function must be a function")),
        (
            "#!lua name=x\nredis.register_function{function_name='f1', callback=function() end, flags={'bad'}}",
            registering("unknown flag given"),
        ),
        (
            "#!lua name=x\nredis.register_function{function_name='f1', callback=function() end, foo=1}",
            registering("unknown argument given to redis.register_function"),
        ),
        (
            "#!lua name=x\nredis.register_function{callback=function() end}",
            registering("redis.register_function must get a function name argument"),
        ),
        (
            "#!lua name=x\nredis.register_function{function_name='f1'}",
            registering("redis.register_function must get a callback argument"),
        ),
        (
            "#!lua name=x\nlocal f = function() end redis.register_function('f1', f) redis.register_function('f1', f)",
            registering("Function already exists in the library"),
        ),
        ("#!lua name=x\nwhile true do end", "-ERR FUNCTION LOAD timeout".to_owned()),
    ] {
        assert_eq!(load(&cluster, library), reply, "{library}");
    }
    assert_eq!(command(&cluster, &["FUNCTION", "LIST"]), "*0");
    for (words, reply) in [
        (&["FUNCTION", "LOAD"][..], "-ERR wrong number of arguments for 'function|load' command"),
        (&["FUNCTION", "LOAD", "foo", "x"], "-ERR Unknown option given: foo"),
        (&["FUNCTION", "LIST", "x"], "-ERR Unknown argument x"),
        (&["FUNCTION", "LIST", "LIBRARYNAME"], "-ERR library name argument was not given"),
        (&["FUNCTION", "FLUSH", "x"], "-ERR FUNCTION FLUSH only supports SYNC|ASYNC option"),
        (&["FUNCTION", "KILL"], "-NOTBUSY No scripts in execution right now."),
        (&["FUNCTION", "foo"], "-ERR unknown subcommand 'foo'. Try FUNCTION HELP."),
    ] {
        assert_eq!(command(&cluster, words), reply, "{words:?}");
    }
}

#[test]
/// Fails if a change of libraries that has reached some partitions only cannot be completed by repeating it.
fn a_change_that_was_interrupted_is_completed_by_repeating_it() {
    let cluster = cluster();
    let broken = cluster.owner(b"broken");
    assert_ne!(broken, 0);
    cluster.fail_partition(broken, Some(recoil_sdk::CallError::Unavailable("no quorum".to_owned())));
    let reply = load(&cluster, LIBRARY);
    assert!(
        reply.starts_with("-CLUSTERDOWN ") && reply.ends_with("the change is on some partitions only: repeat it"),
        "{reply}"
    );
    cluster.fail_partition(broken, None);
    assert_eq!(command(&cluster, &["FCALL", "add", "1", "broken", "1"]), "-ERR Function not found");
    assert_eq!(command(&cluster, &["FUNCTION", "LOAD", "REPLACE", LIBRARY]), "$5 mylib");
    assert_eq!(command(&cluster, &["FCALL", "add", "1", "broken", "1"]), ":1");
}
