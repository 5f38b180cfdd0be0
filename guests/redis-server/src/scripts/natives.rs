//! Functions of Rust that scripts call: Redis' libraries, and what is otherwise in the engine than in Lua 5.1.
//!
//! Each takes copies of its arguments and answers values; none knows the engine. Errors are texts, which the engine puts
//! behind the place of the caller ([`Raise::Text`]), or Redis' tables ([`Raise::Reply`]).

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use recoil_sdk::log;

use super::copies::Shape;
use super::format::number_argument;
use super::value::{Value, truncated};
use super::{bits, format, json, msgpack, sha1_hex, structs};
use crate::command;

/// An error that a function raises.
pub(crate) enum Raise {
    Text(String),
    Reply(String),
}

impl From<String> for Raise {
    fn from(text: String) -> Self {
        Raise::Text(text)
    }
}

/// What functions change, for the rest of a run, and the generator of random numbers.
pub(crate) struct Settings {
    pub(crate) resp3: bool,
    pub(super) json: json::Settings,
    /// The state of Redis' own generator, which goes on from run to run.
    pub(super) random: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { resp3: false, json: json::Settings::default(), random: RandomState::new().build_hasher().finish() }
    }
}

/// What a function answers.
pub(super) type Answer = Result<Vec<Value>, Raise>;

/// A function of Rust.
pub(super) struct Native {
    pub(super) name: &'static str,
    /// What it needs of tables.
    pub(super) shape: Shape,
    pub(super) run: fn(&mut Settings, &[Value]) -> Answer,
}

/// A function that takes no tables: what it does not look into is not copied.
pub(super) const fn without_tables(name: &'static str, run: fn(&mut Settings, &[Value]) -> Answer) -> Native {
    Native { name, shape: Shape::Cut(0), run }
}

/// A function that takes tables.
pub(super) const fn with_tables(
    name: &'static str,
    shape: Shape,
    run: fn(&mut Settings, &[Value]) -> Answer,
) -> Native {
    Native { name, shape, run }
}

/// Functions by library; those of `globals` belong to none.
pub(super) const LIBRARIES: &[(&str, &[Native])] = &[
    ("globals", &[without_tables("tonumber", |_, arguments| Ok(vec![format::to_number(arguments)?]))]),
    ("string", &[without_tables("format", |_, arguments| Ok(vec![format::format(arguments)?]))]),
    ("table", &[]),
    ("math", &[without_tables("random", random), without_tables("randomseed", random_seed)]),
    (
        "redis",
        &[
            without_tables("sha1hex", |_, arguments| match arguments {
                [text] => Ok(vec![Value::text(&sha1_hex(&text.to_bytes().unwrap_or_default()))]),
                _ => Err(Raise::Reply("ERR wrong number of arguments".to_owned())),
            }),
            without_tables("error_reply", error_reply),
            without_tables("status_reply", |_, arguments| match arguments {
                [Value::Bytes(text)] => Ok(vec![Value::single("ok", Value::Bytes(text.clone()))]),
                _ => Ok(vec![super::omni::error_table(WRONG_ARGUMENTS)]),
            }),
            without_tables("log", write_log),
            without_tables("setresp", set_resp),
            without_tables("set_repl", set_repl),
            without_tables("replicate_commands", |_, _| Ok(vec![Value::Boolean(true)])),
            without_tables("breakpoint", |_, _| Ok(vec![Value::Boolean(false)])),
            without_tables("debug", |_, _| Ok(vec![])),
            without_tables("acl_check_cmd", acl_check_cmd),
        ],
    ),
    ("bit", bits::FUNCTIONS),
    ("cjson", json::FUNCTIONS),
    ("cmsgpack", msgpack::FUNCTIONS),
    ("struct", structs::FUNCTIONS),
];

/// Constants of a library.
pub(super) fn constants(library: &str) -> Vec<(&'static str, Value)> {
    let number = |name, number: u32| (name, Value::Number(f64::from(number)));
    match library {
        "redis" => vec![
            number("LOG_DEBUG", 0),
            number("LOG_VERBOSE", 1),
            number("LOG_NOTICE", 2),
            number("LOG_WARNING", 3),
            number("REPL_NONE", 0),
            number("REPL_AOF", 1),
            number("REPL_SLAVE", 2),
            number("REPL_REPLICA", 2),
            number("REPL_ALL", 3),
            ("REDIS_VERSION", Value::text(crate::listener::REDIS_VERSION)),
            number("REDIS_VERSION_NUM", 0x0007_0200),
        ],
        "cjson" => {
            vec![("null", Value::Null), ("_NAME", Value::text("cjson")), ("_VERSION", Value::text("2.1.0"))]
        }
        "cmsgpack" => vec![
            ("_NAME", Value::text("cmsgpack")),
            ("_VERSION", Value::text("lua-cmsgpack 0.4.0")),
            ("_DESCRIPTION", Value::text("MessagePack C implementation for Lua")),
        ],
        _ => Vec::new(),
    }
}

const WRONG_ARGUMENTS: &str = "ERR wrong number or type of arguments";

/// What Lua says of an argument that is wrong; `at` counts from 0.
pub(super) fn bad_argument(function: &str, at: usize, why: &str) -> Raise {
    Raise::Text(format!("bad argument #{} to '{function}' ({why})", at + 1))
}

/// An argument that must be a text, or a number that is written as one.
pub(super) fn text_argument(function: &str, arguments: &[Value], at: usize) -> Result<Vec<u8>, Raise> {
    match arguments.get(at) {
        None => Err(bad_argument(function, at, "string expected, got no value")),
        Some(value) => value
            .to_bytes()
            .ok_or_else(|| bad_argument(function, at, &format!("string expected, got {}", value.type_name()))),
    }
}

/// An argument that must be a number, as an integer.
pub(super) fn integer_argument(function: &str, arguments: &[Value], at: usize) -> Result<i64, Raise> {
    number_argument(function, arguments, at).map(truncated)
}

fn error_reply(_: &mut Settings, arguments: &[Value]) -> Answer {
    let [Value::Bytes(text)] = arguments else { return Ok(vec![super::omni::error_table(WRONG_ARGUMENTS)]) };
    let text = String::from_utf8_lossy(text);
    let text = super::value::trimmed(text.strip_prefix('-').unwrap_or(&text));
    // A text of one word is no code.
    let text = if text.contains(' ') { text.to_owned() } else { format!("ERR {text}") };
    Ok(vec![super::omni::error_table(&text)])
}

fn write_log(_: &mut Settings, arguments: &[Value]) -> Answer {
    if arguments.len() < 2 {
        return Err(Raise::Reply("ERR redis.log() requires two arguments or more.".to_owned()));
    }
    let Value::Number(level) = arguments[0] else {
        return Err(Raise::Reply("ERR First argument must be a number (log level).".to_owned()));
    };
    let level = match truncated(level) {
        0 => log::Level::Debug,
        1 | 2 => log::Level::Info,
        3 => log::Level::Warn,
        _ => return Err(Raise::Reply("ERR Invalid debug level.".to_owned())),
    };
    let words: Vec<Vec<u8>> = arguments[1..].iter().filter_map(Value::to_bytes).collect();
    log::write(level, &String::from_utf8_lossy(&words.join(&b' ')));
    Ok(Vec::new())
}

fn set_resp(settings: &mut Settings, arguments: &[Value]) -> Answer {
    let [version] = arguments else {
        return Err(Raise::Reply("ERR redis.setresp() requires one argument.".to_owned()));
    };
    match version {
        Value::Number(version) if *version == 2.0 || *version == 3.0 => {
            settings.resp3 = *version == 3.0;
            Ok(Vec::new())
        }
        _ => Err(Raise::Reply("ERR RESP version must be 2 or 3.".to_owned())),
    }
}

fn set_repl(_: &mut Settings, arguments: &[Value]) -> Answer {
    let [flags] = arguments else {
        return Err(Raise::Reply("ERR redis.set_repl() requires two arguments.".to_owned()));
    };
    match flags {
        Value::Number(flags) if (0..=3).contains(&truncated(*flags)) => Ok(Vec::new()),
        _ => Err(Raise::Reply(
            "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.".to_owned(),
        )),
    }
}

fn acl_check_cmd(_: &mut Settings, arguments: &[Value]) -> Answer {
    let Some(name) = arguments.first() else {
        return Err(Raise::Reply("ERR Please specify at least one argument for this redis lib call".to_owned()));
    };
    // There is one user, who may do everything.
    match name.to_bytes().and_then(|name| command::find(&name)) {
        Some(_) => Ok(vec![Value::Boolean(true)]),
        None => Err(Raise::Reply("ERR Invalid command passed to redis.acl_check_cmd()".to_owned())),
    }
}

/// The state after `srand48(seed)`.
fn seeded(seed: u32) -> u64 {
    u64::from(seed) << 16 | 0x330e
}

/// Redis' `math.random`, whose numbers after a seed are the same on every machine: the generator of `lrand48`.
fn random(settings: &mut Settings, arguments: &[Value]) -> Answer {
    settings.random = settings.random.wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & ((1 << 48) - 1);
    let fraction = ((settings.random >> 17) % 0x7fff_ffff) as f64 / f64::from(0x7fff_ffff);
    let number = match arguments.len() {
        0 => fraction,
        1 => {
            let high = integer_argument("random", arguments, 0)?;
            if high < 1 {
                return Err(bad_argument("random", 0, "interval is empty"));
            }
            (fraction * high as f64).floor() + 1.0
        }
        2 => {
            let (low, high) = (integer_argument("random", arguments, 0)?, integer_argument("random", arguments, 1)?);
            if low > high {
                return Err(bad_argument("random", 1, "interval is empty"));
            }
            (fraction * (high as f64 - low as f64 + 1.0)).floor() + low as f64
        }
        _ => return Err(Raise::Text("wrong number of arguments".to_owned())),
    };
    Ok(vec![Value::Number(number)])
}

fn random_seed(settings: &mut Settings, arguments: &[Value]) -> Answer {
    settings.random = seeded(integer_argument("randomseed", arguments, 0)? as u32);
    Ok(Vec::new())
}
