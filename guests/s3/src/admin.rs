//! Commands for the operator: access keys.
//!
//! A key stands for a user: a canonical id, which owns buckets and which access control lists name,
//! a name to show, and perhaps an e-mail address. Several keys may have one canonical id. Commands
//! take words and give a text, and know nothing of how they are asked.

use recoil_sdk::{Command, RoutedCall, Router};

use crate::api::{Machine, SECRET_CHARACTERS_MIN, call_patiently, root_key};
use crate::data::access::{KeyGrants, KeyRow, Owner};
use crate::data::command::{Answer, Command as Request, Reply, decode, encode, refusal};
use crate::data::keys;
use crate::digest::{base64, hex, sha256};

/// Characters of a name, a key, a canonical id or an address.
const WORD_CHARACTERS_MAX: usize = 128;
/// Characters of an access key.
const ACCESS_CHARACTERS_MIN: usize = 3;
/// Buckets that one key may be made for.
const BUCKETS_MAX: usize = 100;
/// Keys that are asked for at a time.
const PAGE: u32 = 500;

/// The commands that there are.
pub(crate) fn commands() -> Vec<Command> {
    vec![
        Command::new(
            "key create",
            "NAME [--bucket BUCKET]... [--read-only] [--access-key KEY] [--secret-key SECRET] [--canonical-id ID] \
             [--display-name NAME] [--email ADDRESS]",
            "Makes an access key and prints it with its secret, which is shown only now. A key without --bucket may make \
             buckets of its own. One with --bucket may use the objects of these buckets, whoever owns them, and makes \
             none; with --read-only it may only read. What is not given is chosen. Keys with the same canonical id are \
             keys of one user.",
        ),
        Command::new("key list", "", "Lists all keys, without their secrets."),
        Command::new("key show", "NAME", "Shows a key, without its secret."),
        Command::new("key enable", "NAME", "Lets a key that was disabled be used again."),
        Command::new("key disable", "NAME", "Refuses requests of a key, from at most two seconds later on."),
        Command::new(
            "key delete",
            "NAME",
            "Deletes a key. Buckets and objects of its user stay, and the root key can remove them.",
        ),
    ]
}

/// Carries out a command; the text is what the operator reads, as is the error.
#[cfg(target_arch = "wasm32")]
pub(crate) fn run(arguments: &[String], router: &dyn Router) -> Result<String, String> {
    run_on(router, &crate::shell::Host, arguments)
}

/// Elsewhere than on a host there is nothing to make secrets of: tests bring it along.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn run(_arguments: &[String], _router: &dyn Router) -> Result<String, String> {
    Err("the commands of s3 need the clocks and the randomness of a host".to_owned())
}

/// `run` with a machine that is given.
pub(crate) fn run_on(router: &dyn Router, machine: &dyn Machine, arguments: &[String]) -> Result<String, String> {
    let admin = Admin { router, machine };
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["key", "create", rest @ ..] => admin.create(rest),
        ["key", "list"] => admin.list(),
        ["key", "show", name] => Ok(describe(&admin.find(name)?, None)),
        ["key", "delete", name] => admin.delete(name),
        ["key", "enable", name] => admin.switch(name, true),
        ["key", "disable", name] => admin.switch(name, false),
        _ => {
            let usage = |command: Command| format!("  {} {}", command.words.join(" "), command.usage);
            let usages: Vec<String> = commands().into_iter().map(usage).collect();
            let given = if words.is_empty() { "no command".to_owned() } else { format!("'{}'", words.join(" ")) };
            Err(format!("{given} is none of the commands of s3:\n{}", usages.join("\n")))
        }
    }
}

/// What may be a name, an access key, a canonical id, or an address.
pub(crate) fn is_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+=/$@:".contains(&byte);
    !text.is_empty() && text.len() <= WORD_CHARACTERS_MAX && text.bytes().all(allowed)
}

struct Admin<'a> {
    router: &'a dyn Router,
    machine: &'a dyn Machine,
}

/// What the words behind `key create` say.
#[derive(Default)]
struct Given<'a> {
    name: Option<&'a str>,
    buckets: Vec<String>,
    read_only: bool,
    access_key: Option<&'a str>,
    secret_key: Option<&'a str>,
    canonical_id: Option<&'a str>,
    display_name: Option<&'a str>,
    email: Option<&'a str>,
}

impl<'a> Given<'a> {
    fn parse(words: &[&'a str]) -> Result<Self, String> {
        let mut given = Given::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (option, inline) = word.split_once('=').map_or((*word, None), |(option, value)| (option, Some(value)));
            let mut value = || {
                let value = inline.or_else(|| words.next().copied());
                value.ok_or_else(|| format!("the option {option} has no value"))
            };
            let place = match option {
                "--bucket" => {
                    given.buckets.push(value()?.to_owned());
                    continue;
                }
                "--read-only" if inline.is_none() => {
                    given.read_only = true;
                    continue;
                }
                "--access-key" => &mut given.access_key,
                "--secret-key" => &mut given.secret_key,
                "--canonical-id" => &mut given.canonical_id,
                "--display-name" => &mut given.display_name,
                "--email" => &mut given.email,
                _ if word.starts_with('-') => return Err(format!("'key create' has no option {word}")),
                _ if given.name.is_some() => {
                    return Err(format!("'key create' takes one name, and '{word}' is another"));
                }
                _ => {
                    given.name = Some(word);
                    continue;
                }
            };
            if place.is_some() {
                return Err(format!("the option {option} is given more than once"));
            }
            *place = Some(value()?);
        }
        Ok(given)
    }

    fn check(&self) -> Result<(), String> {
        let name = self.name.ok_or("'key create' needs a name for the key")?;
        let words = [("name", Some(name)), ("--access-key", self.access_key), ("--canonical-id", self.canonical_id)];
        for (what, word) in words.into_iter().chain([("--email", self.email)]) {
            if let Some(word) = word.filter(|word| !is_word(word)) {
                return Err(format!(
                    "the {what} '{word}' has other characters than letters, digits and ._-+=/$@: or more than \
                     {WORD_CHARACTERS_MAX} of them"
                ));
            }
        }
        if let Some(key) = self.access_key.filter(|key| key.len() < ACCESS_CHARACTERS_MIN) {
            return Err(format!("the access key '{key}' has fewer than {ACCESS_CHARACTERS_MIN} characters"));
        }
        if let Some(secret) = self.secret_key {
            let count = secret.chars().count();
            if !(SECRET_CHARACTERS_MIN..=WORD_CHARACTERS_MAX).contains(&count) {
                return Err(format!(
                    "the secret key has {count} characters: use {SECRET_CHARACTERS_MIN} to {WORD_CHARACTERS_MAX}"
                ));
            }
        }
        if self.display_name.is_some_and(|shown| {
            shown.is_empty() || shown.chars().count() > WORD_CHARACTERS_MAX || shown.chars().any(char::is_control)
        }) {
            return Err(format!(
                "the display name is empty, has more than {WORD_CHARACTERS_MAX} characters or controls"
            ));
        }
        if self.email.is_some_and(|email| !email.contains('@')) {
            return Err(format!("the e-mail address '{}' has no @", self.email.unwrap_or_default()));
        }
        if self.buckets.len() > BUCKETS_MAX {
            return Err(format!("a key can be made for {BUCKETS_MAX} buckets, and not for {}", self.buckets.len()));
        }
        match self.buckets.iter().find(|bucket| !s3s::path::check_bucket_name(bucket)) {
            Some(bucket) => Err(format!("no bucket can have the name '{bucket}'")),
            None => Ok(()),
        }
    }
}

impl Admin<'_> {
    fn create(&self, words: &[&str]) -> Result<String, String> {
        let given = Given::parse(words)?;
        given.check()?;
        let name = given.name.unwrap_or_default().to_owned();
        if self.lookup(&name)?.is_some() {
            return Err(format!("there is a key '{name}' already: delete it first, or use another name"));
        }
        let root = Owner::root();
        let is_root = |key: &str| root_key().is_some_and(|(access, _)| access == key);
        if given.canonical_id == Some(root.id.as_str()) || given.access_key.is_some_and(is_root) {
            return Err("the canonical id and the access key of the root key are not for other keys".to_owned());
        }
        let mut buckets = given.buckets;
        buckets.sort();
        buckets.dedup();
        let text = |text: Option<&str>| text.map(str::to_owned);
        let id = text(given.canonical_id).unwrap_or_else(|| self.canonical_id());
        let shown = text(given.display_name).unwrap_or_else(|| name.clone());
        let key = KeyRow {
            access_key: text(given.access_key).unwrap_or_else(|| self.access_key()),
            secret_key: text(given.secret_key).unwrap_or_else(|| self.secret_key()),
            owner: Owner { id, name: shown },
            email: text(given.email),
            grants: KeyGrants { buckets, read_only: given.read_only },
            enabled: true,
            created_us: self.machine.now_us(),
            name,
        };
        self.store(&key)?;
        let secret = key.secret_key.clone();
        Ok(describe(&key, Some(&secret)))
    }

    fn list(&self) -> Result<String, String> {
        let mut rows = vec![["NAME", "ACCESS KEY", "STATE", "MAY", "CANONICAL ID"].map(str::to_owned)];
        let mut after = String::new();
        loop {
            let request = Request::Registered { after, limit: PAGE };
            let (found, more) = match self.call(keys::users_address(), &request, false)? {
                Answer::Keys { keys, more } => (keys, more),
                other => return Err(unexpected(&other)),
            };
            after = found.last().map(|key| key.name.clone()).unwrap_or_default();
            rows.extend(found.iter().map(|key| {
                [key.name.clone(), key.access_key.clone(), state(key).to_owned(), may(key), key.owner.id.clone()]
            }));
            if !more {
                break;
            }
        }
        if rows.len() == 1 {
            return Ok("There are no keys but the root key of the settings: `key create NAME` makes one.\n".to_owned());
        }
        let widths: [usize; 5] =
            std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
        let line = |row: &[String; 5]| {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
        };
        Ok(rows.iter().map(line).collect())
    }

    fn delete(&self, name: &str) -> Result<String, String> {
        let key = self.find(name)?;
        // Listed last: a key that still works is never one that nobody sees.
        let remove = Request::RemoveAccessKey { access_key: key.access_key.clone() };
        self.call(keys::access_key_address(&key.access_key), &remove, true)?;
        self.call(keys::users_address(), &Request::Unregister { name: name.to_owned() }, true)?;
        Ok(format!("The key '{name}' ({}) is deleted.\n", key.access_key))
    }

    fn switch(&self, name: &str, enabled: bool) -> Result<String, String> {
        let listed = self.find(name)?;
        let request = Request::AccessKey { access_key: listed.access_key.clone() };
        let found = match self.call(keys::access_key_address(&listed.access_key), &request, false)? {
            Answer::AccessKey(found) => found,
            other => return Err(unexpected(&other)),
        };
        let missing = || format!("making the key '{name}' was not finished: delete it, and make it again");
        let mut key = *found.ok_or_else(missing)?;
        key.enabled = enabled;
        self.store(&key)?;
        Ok(format!("The key '{name}' ({}) is {}.\n", key.access_key, state(&key)))
    }

    /// In the list, and then where requests look for it.
    fn store(&self, key: &KeyRow) -> Result<(), String> {
        let key = Box::new(key.clone());
        self.call(keys::users_address(), &Request::Register { key: key.clone() }, true)?;
        let address = keys::access_key_address(&key.access_key);
        self.call(address, &Request::PutAccessKey { key }, true).map(drop)
    }

    fn find(&self, name: &str) -> Result<KeyRow, String> {
        self.lookup(name)?.ok_or_else(|| format!("there is no key '{name}': `key list` shows them"))
    }

    fn lookup(&self, name: &str) -> Result<Option<KeyRow>, String> {
        match self.call(keys::users_address(), &Request::RegisteredKey { name: name.to_owned() }, false)? {
            Answer::AccessKey(found) => Ok(found.map(|key| *key)),
            other => Err(unexpected(&other)),
        }
    }

    fn call(&self, to: Vec<u8>, request: &Request, write: bool) -> Result<Answer, String> {
        let bytes = encode(request, b"").map_err(|error| error.message().to_owned())?;
        let call = if write { RoutedCall::write(&to, bytes) } else { RoutedCall::read(&to, bytes) };
        let reply = call_patiently(self.router, self.machine, &call).map_err(|error| match error {
            recoil_sdk::CallError::Rejected(why) => refusal(&why).map_or(why, |(_, why)| why),
            other => format!("the cluster cannot carry this out now: {other}; try again"),
        })?;
        let (reply, _) = decode::<Reply>(&reply).map_err(|error| error.message().to_owned())?;
        Ok(reply.answer)
    }

    /// Bytes that nobody can guess.
    fn bytes(&self) -> [u8; 32] {
        sha256(&[self.machine.random(), self.machine.random()].concat())
    }

    fn canonical_id(&self) -> String {
        hex(&self.bytes())
    }

    fn access_key(&self) -> String {
        const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let digits = self.bytes().into_iter().take(18).map(|byte| char::from(DIGITS[usize::from(byte % 32)]));
        format!("RC{}", digits.collect::<String>())
    }

    fn secret_key(&self) -> String {
        // Without the characters that shells and URLs do not take as they are.
        let digits: Vec<char> = [self.bytes(), self.bytes()]
            .iter()
            .flat_map(|bytes| base64(bytes).chars().filter(char::is_ascii_alphanumeric).collect::<Vec<_>>())
            .collect();
        digits.into_iter().take(40).collect()
    }
}

fn state(key: &KeyRow) -> &'static str {
    if key.enabled { "enabled" } else { "disabled" }
}

fn may(key: &KeyRow) -> String {
    let what = if key.grants.read_only { "read" } else { "read and write" };
    match key.grants.buckets.as_slice() {
        [] => format!("{what} its user's buckets"),
        buckets => format!("{what} {}", buckets.join(", ")),
    }
}

fn describe(key: &KeyRow, secret: Option<&str>) -> String {
    let mut lines = vec![("name", key.name.clone()), ("access key", key.access_key.clone())];
    lines.extend(secret.map(|secret| ("secret key", secret.to_owned())));
    lines.push(("canonical id", key.owner.id.clone()));
    lines.push(("display name", key.owner.name.clone()));
    lines.extend(key.email.clone().map(|email| ("e-mail", email)));
    lines.push(("may", may(key)));
    lines.push(("state", state(key).to_owned()));
    lines.into_iter().map(|(what, value)| format!("{what:13} {value}\n")).collect()
}

fn unexpected(answer: &Answer) -> String {
    format!("a partition gave an answer that does not fit: {answer:?}")
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
