//! BITFIELD and BITFIELD_RO: integers of any width at any bit of a string.
//!
//! Invariant: all operations are parsed before the first is done; arithmetic is in 128 bits, where nothing overflows.

use super::{load_string, store_string};
use crate::arguments::{Options, is};
use crate::executor::Call;
use crate::keyspace::{Failure, Outcome, STRING_BYTES_MAX};
use crate::numbers::parse_i64;
use crate::resp::{push_array, push_integer, push_null};
use crate::strings::{NOT_AN_INTEGER, SYNTAX};

const WRONG_TYPE: &str =
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
const WRONG_OFFSET: &str = "ERR bit offset is not an integer or out of range";

#[derive(Clone, Copy)]
struct Field {
    signed: bool,
    width: usize,
    offset: usize,
}

#[derive(Clone, Copy)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Clone, Copy)]
enum Operation {
    Get,
    Set(i64, Overflow),
    Increment(i64, Overflow),
}

impl Field {
    fn parse(kind: &[u8], offset: &[u8]) -> Result<Self, Failure> {
        let (signed, width) = match kind.split_first() {
            Some((b'i', width)) => (true, width),
            Some((b'u', width)) => (false, width),
            _ => return Err(WRONG_TYPE.into()),
        };
        let width_max = if signed { 64 } else { 63 };
        let width = parse_i64(width).filter(|width| (1..=width_max).contains(width)).ok_or(WRONG_TYPE)? as usize;
        let (number, times) = offset.strip_prefix(b"#").map_or((offset, 1), |number| (number, width));
        let offset = parse_i64(number)
            .and_then(|number| usize::try_from(number).ok())
            .and_then(|number| number.checked_mul(times))
            .filter(|offset| offset.saturating_add(width) <= STRING_BYTES_MAX * 8)
            .ok_or(WRONG_OFFSET)?;
        Ok(Field { signed, width, offset })
    }

    fn read(&self, value: &[u8]) -> i128 {
        let mut number: i128 = 0;
        for at in self.offset..self.offset + self.width {
            let on = value.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
            number = number << 1 | i128::from(on);
        }
        self.wrapped(number)
    }

    fn write(&self, value: &mut [u8], number: i128) {
        for step in 0..self.width {
            let at = self.offset + step;
            let mask = 1 << (7 - at % 8);
            if number >> (self.width - 1 - step) & 1 == 1 {
                value[at / 8] |= mask;
            } else {
                value[at / 8] &= !mask;
            }
        }
    }

    fn smallest(&self) -> i128 {
        if self.signed { -(1 << (self.width - 1)) } else { 0 }
    }

    fn largest(&self) -> i128 {
        if self.signed { (1 << (self.width - 1)) - 1 } else { (1 << self.width) - 1 }
    }

    /// The low bits of a number, as this field reads them.
    fn wrapped(&self, number: i128) -> i128 {
        let low = number & ((1 << self.width) - 1);
        if low > self.largest() { low - (1 << self.width) } else { low }
    }

    /// A number that fits; none if it must not be written.
    fn fit(&self, number: i128, overflow: Overflow) -> Option<i128> {
        if (self.smallest()..=self.largest()).contains(&number) {
            return Some(number);
        }
        match overflow {
            Overflow::Wrap => Some(self.wrapped(number)),
            Overflow::Saturate => Some(number.clamp(self.smallest(), self.largest())),
            Overflow::Fail => None,
        }
    }
}

fn parse(arguments: &[&[u8]], read_only: bool) -> Result<Vec<(Field, Operation)>, Failure> {
    let (mut options, mut overflow, mut operations) = (Options(arguments), Overflow::Wrap, Vec::new());
    while let Some(word) = options.next() {
        if is(word, "OVERFLOW") {
            let how = options.value()?;
            overflow = match how {
                how if is(how, "WRAP") => Overflow::Wrap,
                how if is(how, "SAT") => Overflow::Saturate,
                how if is(how, "FAIL") => Overflow::Fail,
                _ => return Err("ERR Invalid OVERFLOW type specified".into()),
            };
            continue;
        }
        if !["GET", "SET", "INCRBY"].iter().any(|known| is(word, known)) {
            return Err(SYNTAX.into());
        }
        let field = Field::parse(options.value()?, options.value()?)?;
        let operation = if is(word, "GET") {
            Operation::Get
        } else {
            let number = parse_i64(options.value()?).ok_or(NOT_AN_INTEGER)?;
            if is(word, "SET") { Operation::Set(number, overflow) } else { Operation::Increment(number, overflow) }
        };
        if read_only && !matches!(operation, Operation::Get) {
            return Err("ERR BITFIELD_RO only supports the GET subcommand".into());
        }
        operations.push((field, operation));
    }
    Ok(operations)
}

/// BITFIELD and BITFIELD_RO.
pub(crate) fn bitfield(call: &mut Call<'_, '_>, read_only: bool) -> Outcome {
    let key = call.arguments.required()?;
    let arguments = call.rest()?;
    let operations = parse(&arguments, read_only)?;
    let (before, mut value) = load_string(call, key)?;
    let written = operations.iter().filter(|(_, operation)| !matches!(operation, Operation::Get));
    let bits = written.map(|(field, _)| field.offset + field.width).max();
    if let Some(bits) = bits {
        value.resize(value.len().max(bits.div_ceil(8)), 0);
    }
    push_array(&mut call.reply, operations.len());
    for (field, operation) in operations {
        let old = field.read(&value);
        let answer = match operation {
            Operation::Get => Some(old),
            Operation::Set(number, overflow) => {
                // Redis takes the number for an unsigned one of 64 bits.
                let number = if field.signed { i128::from(number) } else { i128::from(number as u64) };
                field.fit(number, overflow).map(|number| {
                    field.write(&mut value, number);
                    old
                })
            }
            Operation::Increment(amount, overflow) => {
                field.fit(old + i128::from(amount), overflow).inspect(|number| field.write(&mut value, *number))
            }
        };
        match answer {
            Some(number) => push_integer(&mut call.reply, number as i64),
            None => push_null(&mut call.reply, call.resp3),
        }
    }
    if bits.is_some() {
        store_string(call, key, &value, before.as_ref())?;
    }
    Ok(())
}
