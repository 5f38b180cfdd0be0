//! Places: GEOADD, GEOPOS, GEODIST, GEOHASH. Searching is in [`search`].
//!
//! A place is a member of a sorted set whose score is a geohash of 52 bits: longitude and latitude, cut into 2^26 steps
//! each and interleaved, latitude in the even bits. Longitudes reach from -180 to 180 degrees, latitudes to
//! ±85.05112878, as in Redis; GEOHASH's text alone uses ±90.
//!
//! Invariant: what a score stands for is the centre of its cell, and every distance is computed from centres.

pub(crate) mod search;

use crate::arguments::{float, is};
use crate::elements::Elements;
use crate::executor::Call;
use crate::keyspace::{Failure, Kind, Outcome};
use crate::request::Op;
use crate::resp::{push_array, push_bulk, push_null, push_null_array};
use crate::strings::SYNTAX;
use crate::zset;
use crate::zset::index::decode_score;

const LATITUDE_MAX: f64 = 85.051_128_78;
const LONGITUDE_MAX: f64 = 180.0;
/// Steps of a coordinate, as a power of two.
const STEPS: u32 = 26;
const EARTH_RADIUS_M: f64 = 6_372_797.560_856;
const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

/// A point on the earth, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) longitude: f64,
    pub(crate) latitude: f64,
}

/// Run a command on places.
pub(crate) fn run(op: Op, call: &mut Call<'_, '_>) -> Outcome {
    match op {
        Op::GeoAdd => add(call),
        Op::GeoPos => positions(call),
        Op::GeoDist => distance(call),
        Op::GeoHash => hashes(call),
        _ => search::run(op, call),
    }
}

/// Every bit at twice its place.
fn spread(number: u64) -> u64 {
    [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555u64),
    ]
    .into_iter()
    .fold(number & 0xffff_ffff, |number, (shift, mask)| (number | number << shift) & mask)
}

/// The even bits, side by side.
fn gather(number: u64) -> u64 {
    (0..32).fold(0, |gathered, bit| gathered | (number >> (2 * bit) & 1) << bit)
}

/// The geohash of a cell.
fn interleave(x: u64, y: u64) -> u64 {
    spread(y) | spread(x) << 1
}

impl Point {
    pub(crate) fn parse(longitude: &[u8], latitude: &[u8]) -> Result<Self, Failure> {
        let (longitude, latitude) = (float(longitude)?, float(latitude)?);
        let valid = longitude.abs() <= LONGITUDE_MAX && latitude.abs() <= LATITUDE_MAX;
        if !valid {
            return Err(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}").into());
        }
        Ok(Point { longitude, latitude })
    }

    /// The step of a coordinate, from its smallest value on.
    fn step(value: f64, max: f64) -> u64 {
        let step = (value + max) / (2.0 * max) * f64::from(1u32 << STEPS);
        (step as u64).min((1 << STEPS) - 1)
    }

    fn encode(&self, latitude_max: f64) -> u64 {
        interleave(Point::step(self.longitude, LONGITUDE_MAX), Point::step(self.latitude, latitude_max))
    }

    /// The centre of the cell of a score.
    pub(crate) fn decode(score: f64) -> Self {
        let hash = score as u64;
        let centre = |step: u64, max: f64| {
            let edge = |step: u64| -max + step as f64 / f64::from(1u32 << STEPS) * (2.0 * max);
            ((edge(step) + edge(step + 1)) / 2.0).clamp(-max, max)
        };
        Point { longitude: centre(gather(hash >> 1), LONGITUDE_MAX), latitude: centre(gather(hash), LATITUDE_MAX) }
    }

    /// Metres between two points (haversine).
    pub(crate) fn distance(&self, other: &Point) -> f64 {
        let (left, right) = (self.latitude.to_radians(), other.latitude.to_radians());
        let v = ((other.longitude.to_radians() - self.longitude.to_radians()) / 2.0).sin();
        if v == 0.0 {
            return EARTH_RADIUS_M * (right - left).abs();
        }
        let u = ((right - left) / 2.0).sin();
        2.0 * EARTH_RADIUS_M * (u * u + left.cos() * right.cos() * v * v).sqrt().asin()
    }
}

/// Metres in a unit.
pub(crate) fn parse_unit(unit: &[u8]) -> Result<f64, Failure> {
    match unit {
        unit if is(unit, "m") => Ok(1.0),
        unit if is(unit, "km") => Ok(1000.0),
        unit if is(unit, "ft") => Ok(0.3048),
        unit if is(unit, "mi") => Ok(1609.34),
        _ => Err("ERR unsupported unit provided. please use M, KM, FT, MI".into()),
    }
}

fn add(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let arguments = call.rest()?;
    let options = arguments.iter().take_while(|word| ["NX", "XX", "CH"].iter().any(|known| is(word, known))).count();
    let (options, places) = arguments.split_at(options);
    if places.is_empty() || !places.len().is_multiple_of(3) {
        return Err(SYNTAX.into());
    }
    let mut scored: Vec<Vec<u8>> = options.iter().map(|option| option.to_vec()).collect();
    for place in places.chunks_exact(3) {
        scored.push(Point::parse(place[0], place[1])?.encode(LATITUDE_MAX).to_string().into_bytes());
        scored.push(place[2].to_vec());
    }
    let scored: Vec<&[u8]> = scored.iter().map(Vec::as_slice).collect();
    zset::add(call, key, &scored)
}

/// Where the members are, as far as they are there.
fn points(call: &mut Call<'_, '_>, key: &[u8], members: &[&[u8]]) -> Result<Vec<Option<Point>>, Failure> {
    let Some(set) = Elements::load(call.keyspace, key, Kind::SortedSet)? else { return Ok(vec![None; members.len()]) };
    let scores = set.get_many(call.keyspace, members)?;
    scores
        .iter()
        .map(|score| score.as_deref().map(|score| decode_score(score).map(Point::decode)).transpose())
        .collect()
}

/// A coordinate as Redis prints it: 17 digits after the point, without zeros at the end.
fn push_coordinate(out: &mut Vec<u8>, resp3: bool, value: f64) {
    let text = format!("{value:.17}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if resp3 {
        out.extend_from_slice(format!(",{text}\r\n").as_bytes());
    } else {
        push_bulk(out, text.as_bytes());
    }
}

pub(crate) fn push_point(out: &mut Vec<u8>, resp3: bool, point: &Point) {
    push_array(out, 2);
    push_coordinate(out, resp3, point.longitude);
    push_coordinate(out, resp3, point.latitude);
}

fn positions(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let members = call.rest()?;
    let points = points(call, key, &members)?;
    push_array(&mut call.reply, points.len());
    for point in points {
        match point {
            Some(point) => push_point(&mut call.reply, call.resp3, &point),
            None => push_null_array(&mut call.reply, call.resp3),
        }
    }
    Ok(())
}

fn distance(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let members = call.rest()?;
    let (members, unit) = match members[..] {
        [one, other] => ([one, other], 1.0),
        [one, other, unit] => ([one, other], parse_unit(unit)?),
        _ => return Err(SYNTAX.into()),
    };
    match points(call, key, &members)?[..] {
        [Some(one), Some(other)] => {
            push_bulk(&mut call.reply, format!("{:.4}", one.distance(&other) / unit).as_bytes())
        }
        _ => push_null(&mut call.reply, call.resp3),
    }
    Ok(())
}

fn hashes(call: &mut Call<'_, '_>) -> Outcome {
    let key = call.arguments.required()?;
    let members = call.rest()?;
    let points = points(call, key, &members)?;
    push_array(&mut call.reply, points.len());
    for point in points {
        let Some(point) = point else {
            push_null(&mut call.reply, call.resp3);
            continue;
        };
        let bits = point.encode(90.0);
        // 52 bits are ten digits of five; the eleventh is always 0.
        let digit = |at: u32| if at < 10 { bits >> (52 - (at + 1) * 5) & 31 } else { 0 };
        let text: Vec<u8> = (0..11).map(|at| ALPHABET[digit(at) as usize]).collect();
        push_bulk(&mut call.reply, &text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_survives_its_geohash() {
        for (longitude, latitude) in [(13.361_389, 38.115_556), (-180.0, -85.0), (180.0, 85.05), (0.0, 0.0)] {
            let point = Point { longitude, latitude };
            let decoded = Point::decode(point.encode(LATITUDE_MAX) as f64);
            assert!((decoded.longitude - longitude).abs() < 1e-5 && (decoded.latitude - latitude).abs() < 1e-5);
        }
        // Redis' documentation has this score for Palermo.
        let palermo = Point { longitude: 13.361_389, latitude: 38.115_556 };
        assert_eq!(palermo.encode(LATITUDE_MAX), 3_479_099_956_230_698);
    }
}
