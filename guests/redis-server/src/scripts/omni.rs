//! The engine: omnilua, a port of PUC-Rio's Lua to Rust, in its 5.1 mode.
//!
//! What it does otherwise than Lua 5.1 is overridden by functions of [`super::natives`] and by `prelude.lua`, which also makes
//! Redis' environment: read-only libraries, errors for unknown globals. Bounds: [`BUDGET`] instructions and
//! [`MEMORY_BYTES_MAX`] of the collector's bytes a run, neither of which a script can catch. After a run that met one of them
//! the engine must be dropped.
//!
//! Errors carry places. A message that the machine makes begins with its own (`user_script:1: …`); for errors that have none,
//! as tables have not, the place of the last call of `error` or of a function of Redis' is remembered, which is what Redis'
//! error handler finds by walking the stack.

mod wrapped;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use omnilua::{Error, Function, Lua, LuaVersion, Sandbox, SandboxConfig, Table as Handles, Value as Handle, Variadic};

use self::wrapped::{WRAPPED, wrap_own, wrap_register};
use super::copies::{Shape, copy, handle_of};
use super::engine::{Digest, Engine, Host, Input, Registered, Returned, Stopped};
use super::natives::{self, Native, Raise, Settings};
use super::value::{Table, Value};

/// Instructions that one run may execute: some 0.7 s of them.
pub(crate) const BUDGET: u64 = if cfg!(test) { 10_000_000 } else { 50_000_000 };
/// What the tables, strings and functions of an engine may come to. An instance has three times as much.
const MEMORY_BYTES_MAX: usize = 40 << 20;
/// Instructions between two looks at the bounds.
const CHECK_INTERVAL: u32 = 200;

const PRELUDE: &str = include_str!("prelude.lua");
/// What the place of a line of the prelude begins with.
const PRELUDE_PLACE: &[u8] = b"prelude:";

type LuaResult<T> = Result<T, Error>;

/// A library that has been loaded.
struct Library {
    /// By name, in lower case.
    functions: HashMap<String, Function>,
}

/// What the functions of Rust share with the engine. They hold it weakly, since it holds values of the engine.
pub(super) struct Shared {
    /// Lua's own `error`.
    error: Function,
    settings: RefCell<Settings>,
    /// Lua's own functions of [`WRAPPED`].
    wrapped: Vec<Function>,
    /// Where an error without a place of its own was raised last.
    place: RefCell<Option<(String, u32)>>,
    /// While a library is loaded: its functions.
    registering: RefCell<Option<Vec<(Registered, Function)>>>,
}

/// The engine.
pub(crate) struct OmniLua {
    lua: Lua,
    sandbox: Sandbox,
    shared: Rc<Shared>,
    /// Lua's own `pcall`.
    protected_call: Function,
    /// What the prelude returned: prepares a run.
    enter: Function,
    scripts: HashMap<Digest, Function>,
    libraries: HashMap<Digest, Library>,
    text_bytes: usize,
}

impl Shared {
    /// Where the function of Rust that is running was called from, if that is a script: `@user_script` and a line.
    fn caller(&self) -> Option<(String, u32)> {
        // The function of Rust is at level 1; functions of the prelude may be between it and the script.
        for level in 2i64..5 {
            let located = self.error.call::<_, ()>(("", level)).err()?;
            let message = located.message_bytes()?;
            if !message.starts_with(PRELUDE_PLACE) {
                return place_of(message);
            }
        }
        None
    }

    /// An error that is a text, behind the place of the caller, as `luaL_error` makes it.
    fn raise_text(&self, text: &str) -> Error {
        let located = match self.caller() {
            Some((source, line)) => format!("{}:{line}: {text}", source.trim_start_matches('@')),
            // Called by something that is not Lua, a function has no name.
            None => match text.split_once(" to '").filter(|_| text.starts_with("bad argument")) {
                Some((before, after)) => {
                    format!("{before} to '?'{}", after.split_once('\'').map_or(after, |(_, after)| after))
                }
                None => text.to_owned(),
            },
        };
        let raised = self.error.call::<_, ()>((&located[..], 0i64));
        raised.err().unwrap_or_else(|| omnilua::LuaError::Error.into())
    }

    /// An error that is a table, as Redis' functions make it.
    fn raise_reply(&self, lua: &Lua, text: &str) -> Error {
        *self.place.borrow_mut() = self.caller();
        match handle_of(lua, &error_table(text)).and_then(|table| self.error.call::<_, ()>((table, 0i64))) {
            Err(error) => error,
            Ok(()) => omnilua::LuaError::Error.into(),
        }
    }
}

/// What Redis makes of an error: its text with a code, under `err`.
pub(super) fn error_table(text: &str) -> Value {
    Value::Table(Table(vec![
        (Value::text("err"), Value::text(super::value::trimmed(text))),
        (Value::text("ignore_error_stats_update"), Value::Boolean(true)),
    ]))
}

/// The place that a message begins with.
fn place_of(message: &[u8]) -> Option<(String, u32)> {
    for name in ["user_script", "user_function"] {
        if let Some(rest) = message.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b":")) {
            let digits = &rest[..rest.iter().take_while(|byte| byte.is_ascii_digit()).count()];
            let line = std::str::from_utf8(digits).ok()?.parse().ok()?;
            return rest[digits.len()..].starts_with(b":").then(|| (format!("@{name}"), line));
        }
    }
    None
}

fn gone() -> Error {
    omnilua::LuaError::runtime(format_args!("the engine has ended")).into()
}

/// A function of Rust for Lua.
fn wrap(lua: &Lua, shared: &Weak<Shared>, native: &'static Native) -> LuaResult<Function> {
    let shared = shared.clone();
    lua.create_function(move |lua: &Lua, arguments: Variadic<Handle>| -> LuaResult<Variadic<Handle>> {
        let shared = shared.upgrade().ok_or_else(gone)?;
        let mut copies = Vec::with_capacity(arguments.len());
        for argument in arguments.iter() {
            copies.push(match copy(argument, native.shape)? {
                Ok(value) => value,
                Err(too_large) => return Err(shared.raise_text(too_large)),
            });
        }
        let result = (native.run)(&mut shared.settings.borrow_mut(), &copies);
        match result {
            Ok(values) => values.iter().map(|value| handle_of(lua, value)).collect(),
            Err(Raise::Text(text)) => Err(shared.raise_text(&text)),
            Err(Raise::Reply(text)) => Err(shared.raise_reply(lua, &text)),
        }
    })
}

/// `error`, which remembers where it was called.
fn wrap_error(lua: &Lua, shared: &Weak<Shared>) -> LuaResult<Function> {
    let shared = shared.clone();
    lua.create_function(move |_: &Lua, arguments: Variadic<Handle>| -> LuaResult<()> {
        let shared = shared.upgrade().ok_or_else(gone)?;
        *shared.place.borrow_mut() = shared.caller();
        let mut arguments = arguments.into_vec();
        let level = match arguments.get(1) {
            None | Some(Handle::Nil) => 1.0,
            Some(Handle::Integer(level)) => *level as f64,
            Some(Handle::Number(level)) => *level,
            // Lua's own function says what is wrong with it.
            Some(_) => return shared.error.call::<_, ()>(Variadic::from(arguments)),
        };
        arguments.resize(2, Handle::Nil);
        let raise = |level: f64| {
            let given = [arguments[0].clone(), Handle::Number(level)].into_iter().collect::<Variadic<_>>();
            shared.error.call::<_, ()>(given)
        };
        let raised = raise(if level > 0.0 { level + 1.0 } else { level });
        let in_prelude = |error: &Error| error.message_bytes().is_some_and(|text| text.starts_with(PRELUDE_PLACE));
        if level > 0.0 && raised.as_ref().err().is_some_and(in_prelude) { raise(level + 2.0) } else { raised }
    })
}

/// The command of `redis.call`, or what is wrong with its arguments.
fn command_of(arguments: &[Handle]) -> LuaResult<Result<Vec<Vec<u8>>, &'static str>> {
    if arguments.is_empty() {
        return Ok(Err("ERR Please specify at least one argument for this redis lib call"));
    }
    let mut command = Vec::with_capacity(arguments.len());
    for argument in arguments {
        command.push(match argument {
            Handle::String(text) => text.as_bytes()?,
            Handle::Number(number) => super::format::shortest(*number),
            Handle::Integer(number) => number.to_string().into_bytes(),
            _ => return Ok(Err("ERR Lua redis lib command arguments must be strings or integers")),
        });
    }
    Ok(Ok(command))
}

impl OmniLua {
    /// A new engine, which takes a third of a millisecond.
    pub(crate) fn new() -> Result<Self, String> {
        Self::start().map_err(|error| format!("the script engine does not start: {error}"))
    }

    fn start() -> LuaResult<Self> {
        let lua = Lua::new_versioned(LuaVersion::V51);
        let globals = lua.globals();
        let wrapped = WRAPPED.iter().map(|(library, name)| match *library {
            "globals" => globals.get(*name),
            library => globals.get::<_, Handles>(library)?.get(*name),
        });
        let shared = Rc::new(Shared {
            error: globals.get("error")?,
            wrapped: wrapped.collect::<LuaResult<_>>()?,
            settings: RefCell::new(Settings::default()),
            place: RefCell::new(None),
            registering: RefCell::new(None),
        });
        let protected_call = globals.get("pcall")?;
        let weak = Rc::downgrade(&shared);
        let natives = lua.create_table()?;
        for (library, functions) in natives::LIBRARIES {
            let table = lua.create_table()?;
            for native in *functions {
                table.raw_set(native.name, &wrap(&lua, &weak, native)?)?;
            }
            for (name, value) in natives::constants(library) {
                table.raw_set(name, handle_of(&lua, &value)?)?;
            }
            for (at, _) in WRAPPED.iter().enumerate().filter(|(_, (of, _))| of == library) {
                table.raw_set(WRAPPED[at].1, &wrap_own(&lua, &weak, at)?)?;
            }
            natives.raw_set(*library, &table)?;
        }
        let own: Handles = natives.raw_get("globals")?;
        own.raw_set("error", &wrap_error(&lua, &weak)?)?;
        let registry = lua.create_table()?;
        registry.raw_set("register_function", &wrap_register(&lua, &weak)?)?;
        natives.raw_set("registry", &registry)?;
        let enter = lua.load(PRELUDE).set_name("@prelude").into_function()?.call(&natives)?;
        let config = SandboxConfig {
            instruction_limit: Some(BUDGET),
            memory_limit_bytes: Some(MEMORY_BYTES_MAX),
            check_interval: CHECK_INTERVAL,
            remove_globals: Vec::new(),
        };
        let sandbox = lua.install_sandbox(config)?;
        let (scripts, libraries) = (HashMap::new(), HashMap::new());
        Ok(OmniLua { lua, sandbox, shared, protected_call, enter, scripts, libraries, text_bytes: 0 })
    }

    /// The compiled text, or the compiler's message.
    fn compiled(&self, text: &[u8], name: &str) -> Result<Function, String> {
        if text.first() == Some(&0x1b) {
            return Err(format!("{name}: precompiled code is not accepted"));
        }
        self.lua.load(text).set_name(format!("@{name}")).into_function().map_err(|error| message(&error))
    }

    /// What a run starts with.
    fn reset(&self) {
        self.sandbox.reset();
        let random = self.shared.settings.borrow().random;
        *self.shared.settings.borrow_mut() = Settings { random, ..Settings::default() };
        *self.shared.place.borrow_mut() = None;
    }

    fn list(&self, items: &[&[u8]]) -> LuaResult<Handles> {
        let table = self.lua.create_table()?;
        for (at, item) in (1i64..).zip(items) {
            table.raw_set(at, *item)?;
        }
        Ok(table)
    }

    /// Run a function with the calls of Redis at hand.
    fn guarded(
        &self,
        mode: &str,
        function: &Function,
        input: Input<'_>,
        host: &mut dyn Host,
    ) -> Result<Returned, Stopped> {
        self.reset();
        let host = RefCell::new(host);
        let outcome = self.lua.scope(|scope| {
            let shared = &self.shared;
            let call = scope.create_function(&self.lua, |lua: &Lua, arguments: Variadic<Handle>| {
                let resp3 = shared.settings.borrow().resp3;
                let reply = match command_of(&arguments)? {
                    Ok(command) => host.borrow_mut().call(&command, resp3),
                    Err(text) => Err(text.to_owned()),
                };
                reply.map_or_else(|text| Err(shared.raise_reply(lua, &text)), |value| handle_of(lua, &value))
            })?;
            let protected = scope.create_function(&self.lua, |lua: &Lua, arguments: Variadic<Handle>| {
                let resp3 = shared.settings.borrow().resp3;
                let reply = match command_of(&arguments)? {
                    Ok(command) => host.borrow_mut().call(&command, resp3),
                    Err(text) => Err(text.to_owned()),
                };
                handle_of(lua, &reply.unwrap_or_else(|text| error_table(&text)))
            })?;
            let (keys, arguments) = (self.list(input.keys)?, self.list(input.arguments)?);
            let given = if mode == "script" {
                let values = [&call, &protected].map(|function| Handle::Function(function.clone()));
                let [call, protected] = values;
                let lists = [Handle::Table(keys), Handle::Table(arguments)];
                let all = [Handle::String(self.lua.create_string(mode)?), call, protected].into_iter().chain(lists);
                self.enter.call::<_, ()>(all.collect::<Variadic<_>>())?;
                vec![Handle::Function(function.clone())]
            } else {
                let values = [&call, &protected].map(|function| Handle::Function(function.clone()));
                let all = [Handle::String(self.lua.create_string(mode)?)].into_iter().chain(values);
                self.enter.call::<_, ()>(all.collect::<Variadic<_>>())?;
                vec![Handle::Function(function.clone()), Handle::Table(keys), Handle::Table(arguments)]
            };
            self.protected_call.call::<_, (bool, Handle)>(Variadic::from(given))
        });
        self.ended(outcome)
    }

    /// What became of a run.
    fn ended(&self, outcome: LuaResult<(bool, Handle)>) -> Result<Returned, Stopped> {
        match self.sandbox.tripped() {
            Some(omnilua::TripReason::Instructions) => return Err(Stopped::Budget),
            Some(omnilua::TripReason::Memory) => return Err(Stopped::Memory),
            None => {}
        }
        let raised = |text: String| Stopped::Raised { text: format!("ERR {text}"), place: None };
        let (returned, handle) = outcome.map_err(|error| raised(message(&error)))?;
        let value = copy(&handle, Shape::Reply)
            .map_err(|error| raised(message(&error)))?
            .map_err(|text| raised(text.to_owned()))?;
        if returned {
            return Ok(Returned { value, resp3: self.shared.settings.borrow().resp3 });
        }
        let remembered = || self.shared.place.borrow().clone();
        Err(match value {
            Value::Table(table) => match table.field("err").to_bytes() {
                Some(text) => {
                    Stopped::Raised { text: String::from_utf8_lossy(&text).into_owned(), place: remembered() }
                }
                None => Stopped::Raised { text: "ERR unknown error".to_owned(), place: remembered() },
            },
            other => {
                let text = match &other {
                    Value::Boolean(truth) => truth.to_string().into_bytes(),
                    other => other.to_bytes().unwrap_or_else(|| other.type_name().as_bytes().to_vec()),
                };
                let place = place_of(&text).or_else(remembered);
                Stopped::Raised { text: format!("ERR {}", String::from_utf8_lossy(&text)), place }
            }
        })
    }
}

fn message(error: &Error) -> String {
    String::from_utf8_lossy(error.message_bytes().unwrap_or(error.to_string().as_bytes())).into_owned()
}

impl Engine for OmniLua {
    fn compile(&mut self, digest: Digest, text: &[u8]) -> Result<(), String> {
        let function = self.compiled(text, "user_script")?;
        self.text_bytes += text.len();
        self.scripts.insert(digest, function);
        Ok(())
    }

    fn has_script(&self, digest: &Digest) -> bool {
        self.scripts.contains_key(digest)
    }

    fn run(&mut self, digest: &Digest, input: Input<'_>, host: &mut dyn Host) -> Result<Returned, Stopped> {
        let Some(function) = self.scripts.get(digest) else {
            return Err(Stopped::Raised { text: "ERR the script is not compiled".to_owned(), place: None });
        };
        self.guarded("script", function, input, host)
    }

    fn load(&mut self, digest: Digest, text: &[u8]) -> Result<Vec<Registered>, String> {
        let function =
            self.compiled(text, "user_function").map_err(|message| format!("Error compiling function: {message}"))?;
        self.reset();
        *self.shared.registering.borrow_mut() = Some(Vec::new());
        let outcome =
            self.enter.call::<_, ()>("library").and_then(|()| self.protected_call.call::<_, (bool, Handle)>(&function));
        let functions = self.shared.registering.borrow_mut().take().unwrap_or_default();
        match self.ended(outcome) {
            Ok(_) => {}
            Err(Stopped::Raised { text, .. }) => return Err(format!("Error registering functions: {text}")),
            Err(Stopped::Budget) => return Err("FUNCTION LOAD timeout".to_owned()),
            Err(Stopped::Memory) => return Err("the library needs too much memory while it is loaded".to_owned()),
        }
        if functions.is_empty() {
            return Err("No functions registered".to_owned());
        }
        self.text_bytes += text.len();
        let registered = functions.iter().map(|(registered, _)| registered.clone()).collect();
        let functions = functions
            .into_iter()
            .map(|(registered, function)| (registered.name.to_ascii_lowercase(), function))
            .collect();
        self.libraries.insert(digest, Library { functions });
        Ok(registered)
    }

    fn has_library(&self, digest: &Digest) -> bool {
        self.libraries.contains_key(digest)
    }

    fn call(
        &mut self,
        digest: &Digest,
        function: &str,
        input: Input<'_>,
        host: &mut dyn Host,
    ) -> Result<Returned, Stopped> {
        match self.libraries.get(digest).and_then(|library| library.functions.get(function)) {
            Some(function) => self.guarded("function", function, input, host),
            None => Err(Stopped::Raised { text: "ERR Function not found".to_owned(), place: None }),
        }
    }

    fn text_bytes(&self) -> usize {
        self.text_bytes
    }
}
