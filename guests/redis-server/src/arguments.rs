//! Reading the arguments of a command on a partition: integers, floats, keywords, in Redis' words when they are wrong.
//!
//! Invariant: nothing here panics or wraps, whatever a client sends.

use crate::executor::Call;
use crate::keyspace::Failure;
use crate::numbers::{parse_f64, parse_i64};
use crate::strings::{NOT_AN_INTEGER, SYNTAX};

pub(crate) const NOT_A_FLOAT: &str = "ERR value is not a valid float";

/// Arguments in their order.
pub(crate) type Words<'a> = Vec<&'a [u8]>;

/// An integer in the one spelling that Redis takes.
pub(crate) fn integer(text: &[u8]) -> Result<i64, Failure> {
    parse_i64(text).ok_or_else(|| NOT_AN_INTEGER.into())
}

/// A floating-point number, which may be infinite.
pub(crate) fn float(text: &[u8]) -> Result<f64, Failure> {
    parse_f64(text).ok_or_else(|| NOT_A_FLOAT.into())
}

/// An integer that must not be negative; `error` otherwise.
pub(crate) fn unsigned(text: &[u8], error: &'static str) -> Result<u64, Failure> {
    parse_i64(text).and_then(|number| u64::try_from(number).ok()).ok_or_else(|| error.into())
}

/// True if an argument is this keyword, in any case.
pub(crate) fn is(argument: &[u8], keyword: &str) -> bool {
    argument.eq_ignore_ascii_case(keyword.as_bytes())
}

impl<'a> Call<'a, '_> {
    /// The arguments that have not been taken yet.
    pub(crate) fn rest(&mut self) -> Result<Vec<&'a [u8]>, Failure> {
        let mut rest = Vec::new();
        while let Some(argument) = self.arguments.next()? {
            rest.push(argument);
        }
        Ok(rest)
    }

    /// The next argument, an integer.
    pub(crate) fn integer(&mut self) -> Result<i64, Failure> {
        integer(self.arguments.required()?)
    }

    /// `numkeys key [key …]`, and the arguments after the keys.
    pub(crate) fn counted_keys(&mut self, errors: KeyCountErrors<'_>) -> Result<(Words<'a>, Words<'a>), Failure> {
        let count = parse_i64(self.arguments.required()?).ok_or_else(|| errors.not_an_integer.to_owned())?;
        let mut keys = self.rest()?;
        let count =
            usize::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| errors.not_positive.to_owned())?;
        if count > keys.len() {
            return Err(errors.too_many.to_owned().into());
        }
        let rest = keys.split_off(count);
        Ok((keys, rest))
    }
}

/// What a command answers when its number of keys is wrong.
#[derive(Clone, Copy)]
pub(crate) struct KeyCountErrors<'e> {
    pub(crate) not_an_integer: &'e str,
    pub(crate) not_positive: &'e str,
    pub(crate) too_many: &'e str,
}

/// The errors of commands that name the argument.
pub(crate) const NUMKEYS: KeyCountErrors<'_> =
    KeyCountErrors { not_an_integer: NUMKEYS_NOT_POSITIVE, not_positive: NUMKEYS_NOT_POSITIVE, too_many: SYNTAX };
const NUMKEYS_NOT_POSITIVE: &str = "ERR numkeys should be greater than 0";

/// Takes arguments off the front of a list of options.
pub(crate) struct Options<'s, 'a>(pub(crate) &'s [&'a [u8]]);

impl<'a> Options<'_, 'a> {
    /// The next argument, if there is one.
    pub(crate) fn next(&mut self) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// The value of the option that was just taken.
    pub(crate) fn value(&mut self) -> Result<&'a [u8], Failure> {
        self.next().ok_or_else(|| SYNTAX.into())
    }

    /// The value of the option that was just taken, an integer.
    pub(crate) fn integer(&mut self) -> Result<i64, Failure> {
        integer(self.value()?)
    }
}

/// The part of a sequence of `length` that `start` to `stop` mean, both included, negative from the end: first and number.
pub(crate) fn window(start: i64, stop: i64, length: u64) -> (u64, u64) {
    let length = length as i64;
    let from_end = |at: i64| if at < 0 { at.saturating_add(length) } else { at };
    let (first, last) = (from_end(start).max(0), from_end(stop).min(length - 1));
    if first > last { (0, 0) } else { (first as u64, (last - first + 1) as u64) }
}
