//! `bit`: Mike Pall's BitOp, operations on 32 bits.

use super::format::number_argument;
use super::natives::{Answer, Native, Raise, Settings, without_tables};
use super::value::Value;

pub(super) const FUNCTIONS: &[Native] = &[
    without_tables("tobit", |_, arguments| answer(bits("tobit", arguments, 0)?)),
    without_tables("bnot", |_, arguments| answer(!bits("bnot", arguments, 0)?)),
    without_tables("band", |_, arguments| fold("band", arguments, |left, right| left & right)),
    without_tables("bor", |_, arguments| fold("bor", arguments, |left, right| left | right)),
    without_tables("bxor", |_, arguments| fold("bxor", arguments, |left, right| left ^ right)),
    without_tables("lshift", |_, arguments| shift("lshift", arguments, |value, by| value << by)),
    without_tables("rshift", |_, arguments| shift("rshift", arguments, |value, by| value >> by)),
    without_tables("arshift", |_, arguments| shift("arshift", arguments, |value, by| ((value as i32) >> by) as u32)),
    without_tables("rol", |_, arguments| shift("rol", arguments, u32::rotate_left)),
    without_tables("ror", |_, arguments| shift("ror", arguments, u32::rotate_right)),
    without_tables("bswap", |_, arguments| answer(bits("bswap", arguments, 0)?.swap_bytes())),
    without_tables("tohex", to_hex),
];

/// The low 32 bits of the number, rounded: what is left of its mantissa beside 2^52 + 2^51.
fn bits(function: &str, arguments: &[Value], at: usize) -> Result<u32, Raise> {
    Ok((number_argument(function, arguments, at)? + 6_755_399_441_055_744.0).to_bits() as u32)
}

fn answer(value: u32) -> Answer {
    Ok(vec![Value::Number(f64::from(value as i32))])
}

fn fold(function: &str, arguments: &[Value], operation: fn(u32, u32) -> u32) -> Answer {
    let mut value = bits(function, arguments, 0)?;
    for at in 1..arguments.len() {
        value = operation(value, bits(function, arguments, at)?);
    }
    answer(value)
}

fn shift(function: &str, arguments: &[Value], operation: fn(u32, u32) -> u32) -> Answer {
    answer(operation(bits(function, arguments, 0)?, bits(function, arguments, 1)? & 31))
}

fn to_hex(_: &mut Settings, arguments: &[Value]) -> Answer {
    let value = bits("tohex", arguments, 0)?;
    let digits = if arguments.len() < 2 { 8 } else { bits("tohex", arguments, 1)? as i32 };
    let text = if digits < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    let kept = digits.unsigned_abs().min(8) as usize;
    Ok(vec![Value::text(&text[8 - kept..])])
}
