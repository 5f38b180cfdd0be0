//! Whom an access key stands for.
//!
//! The root key is in the settings; other keys are rows. What was found is kept in the instance for
//! [`KNOWN_US`], and that there is no such key for [`UNKNOWN_US`], where the host keeps instances
//! between requests: so a key that was disabled works for two seconds more at most, and guessing
//! keys costs the cluster one read a second for each guess.

use std::cell::RefCell;
use std::collections::HashMap;

use recoil_sdk::settings;

use super::session::{Session, unexpected};
use crate::data::access::{KeyRow, User};
use crate::data::command::{Answer, Command};
use crate::data::keys;
use crate::fault::{Outcome, denied};

/// How long a key that is there is not looked up again.
const KNOWN_US: u64 = 2_000_000;
/// How long a key that is not there is not looked up again.
const UNKNOWN_US: u64 = 1_000_000;
/// Keys that an instance keeps.
const KEPT_MAX: usize = 1000;
/// A secret key has at least so many characters.
pub(crate) const SECRET_CHARACTERS_MIN: usize = 8;

thread_local! {
    /// Until when a key is kept, and what was found.
    static KEPT: RefCell<HashMap<String, (u64, Option<KeyRow>)>> = RefCell::default();
}

/// A secret, and whom it is the secret of.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) secret: String,
    pub(crate) user: User,
}

/// Forgets what this instance has kept.
#[cfg(test)]
pub(crate) fn forget() {
    KEPT.with_borrow_mut(HashMap::clear);
}

/// The root key, once it is set.
pub(crate) fn root_key() -> Option<(String, String)> {
    let access = settings::text("root-access-key").filter(|access| !access.is_empty())?;
    let secret = settings::text("root-secret-key").unwrap_or_default();
    (secret.chars().count() >= SECRET_CHARACTERS_MIN).then_some((access, secret))
}

impl Session {
    /// Whom an access key stands for; none if there is no such key, or it is disabled.
    pub(crate) fn known(&self, access_key: &str) -> Outcome<Option<Known>> {
        let root = root_key();
        if let Some((access, secret)) = &root
            && access == access_key
        {
            return Ok(Some(Known { secret: secret.clone(), user: User::root() }));
        }
        let found = self.key_row(access_key)?;
        if found.is_none() && root.is_none() {
            return Err(denied(format!(
                "there is no such access key, and this store has no root key yet: set root-access-key, and \
                 root-secret-key with at least {SECRET_CHARACTERS_MIN} characters, with `recoilctl set`"
            )));
        }
        let known = |key: KeyRow| Known { secret: key.secret_key.clone(), user: User::of(&key) };
        Ok(found.filter(|key| key.enabled).map(known))
    }

    fn key_row(&self, access_key: &str) -> Outcome<Option<KeyRow>> {
        // What cannot be a key is not looked up.
        if !crate::admin::is_word(access_key) {
            return Ok(None);
        }
        let now_us = self.machine.now_us();
        let kept = KEPT.with_borrow(|kept| kept.get(access_key).filter(|(until_us, _)| now_us < *until_us).cloned());
        if let Some((_, found)) = kept {
            return Ok(found);
        }
        let command = Command::AccessKey { access_key: access_key.to_owned() };
        let found = match self.read(keys::access_key_address(access_key), &command)? {
            Answer::AccessKey(found) => found.map(|key| *key),
            other => return Err(unexpected(&other)),
        };
        let until_us = now_us + if found.is_some() { KNOWN_US } else { UNKNOWN_US };
        KEPT.with_borrow_mut(|kept| {
            if kept.len() >= KEPT_MAX {
                kept.clear();
            }
            kept.insert(access_key.to_owned(), (until_us, found.clone()));
        });
        Ok(found)
    }
}
