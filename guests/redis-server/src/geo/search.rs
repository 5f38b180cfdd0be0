//! GEOSEARCH, GEOSEARCHSTORE, GEORADIUS and GEORADIUSBYMEMBER.
//!
//! A search covers its area with at most nine cells of one size. A cell is a range of scores, since its geohash is what
//! the hashes within it begin with; the members in these ranges are then measured one by one.
//!
//! Invariant: the cells cover the whole area, across the 180th meridian too. Without ASC or DESC the order of the reply is
//! that of the scores, where Redis' is that of its cells.

use super::{EARTH_RADIUS_M, LATITUDE_MAX, LONGITUDE_MAX, Point, STEPS, interleave, parse_unit, push_point};
use crate::arguments::{Options, integer, is};
use crate::elements::{Elements, check_held};
use crate::executor::Call;
use crate::keyspace::{Failure, Kind, Outcome};
use crate::numbers::parse_f64;
use crate::request::Op;
use crate::resp::{push_array, push_bulk, push_integer};
use crate::strings::SYNTAX;
use crate::zset::index::{Member, decode_score, ordered};
use crate::zset::{Span, members, range::store};

/// Cells that an area is covered with, at most.
const CELLS_MAX: i64 = 9;
const NO_MEMBER: &str = "ERR could not decode requested zset member";

enum Area {
    /// In metres.
    Circle(f64),
    /// Width and height in metres.
    Rectangle(f64, f64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    None,
    Ascending,
    Descending,
}

/// A search, as far as its arguments go.
struct Search<'a> {
    centre: Option<Point>,
    member: Option<&'a [u8]>,
    area: Option<Area>,
    /// Metres in the unit of the area.
    unit: f64,
    order: Order,
    /// 0: all.
    count: u64,
    any: bool,
    with_point: bool,
    with_distance: bool,
    with_hash: bool,
    store: Option<&'a [u8]>,
    store_distance: bool,
}

/// Which of the commands it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Radius,
    RadiusByMember,
    Search,
    SearchStore,
}

struct Found {
    member: Member,
    point: Point,
    distance: f64,
}

/// Run a search.
pub(crate) fn run(op: Op, call: &mut Call<'_, '_>) -> Outcome {
    match op {
        Op::GeoRadius => search(call, Form::Radius, true),
        Op::GeoRadiusRo => search(call, Form::Radius, false),
        Op::GeoRadiusByMember => search(call, Form::RadiusByMember, true),
        Op::GeoRadiusByMemberRo => search(call, Form::RadiusByMember, false),
        Op::GeoSearch => search(call, Form::Search, false),
        Op::GeoSearchStore => search(call, Form::SearchStore, false),
        _ => Err(Failure::Abort("ERR not a command on places".into())),
    }
}

fn size(text: &[u8], what: &str, negative: &'static str) -> Result<f64, Failure> {
    let size = parse_f64(text).ok_or_else(|| format!("ERR need numeric {what}"))?;
    if size < 0.0 { Err(negative.into()) } else { Ok(size) }
}

impl<'a> Search<'a> {
    fn new() -> Self {
        Search {
            centre: None,
            member: None,
            area: None,
            unit: 1.0,
            order: Order::None,
            count: 0,
            any: false,
            with_point: false,
            with_distance: false,
            with_hash: false,
            store: None,
            store_distance: false,
        }
    }

    fn set_radius(&mut self, radius: &[u8], unit: &[u8]) -> Outcome {
        let radius = size(radius, "radius", "ERR radius cannot be negative")?;
        self.unit = parse_unit(unit)?;
        self.area = Some(Area::Circle(radius * self.unit));
        Ok(())
    }

    /// An option of every form. False if it is not one.
    fn common_option(&mut self, option: &'a [u8], options: &mut Options<'_, 'a>) -> Result<bool, Failure> {
        if is(option, "ASC") {
            self.order = Order::Ascending;
        } else if is(option, "DESC") {
            self.order = Order::Descending;
        } else if is(option, "WITHDIST") {
            self.with_distance = true;
        } else if is(option, "WITHHASH") {
            self.with_hash = true;
        } else if is(option, "WITHCOORD") {
            self.with_point = true;
        } else if is(option, "ANY") {
            self.any = true;
        } else if is(option, "COUNT") {
            let count = integer(options.value()?)?;
            self.count = u64::try_from(count).ok().filter(|count| *count > 0).ok_or("ERR COUNT must be > 0")?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// An option of GEOSEARCH and GEOSEARCHSTORE. False if it is not one.
    fn search_option(&mut self, option: &'a [u8], options: &mut Options<'_, 'a>) -> Result<bool, Failure> {
        let has_centre = self.centre.is_some() || self.member.is_some();
        if is(option, "FROMMEMBER") && !has_centre {
            self.member = Some(options.value()?);
        } else if is(option, "FROMLONLAT") && !has_centre {
            self.centre = Some(Point::parse(options.value()?, options.value()?)?);
        } else if is(option, "BYRADIUS") && self.area.is_none() {
            self.set_radius(options.value()?, options.value()?)?;
        } else if is(option, "BYBOX") && self.area.is_none() {
            const NEGATIVE: &str = "ERR height or width cannot be negative";
            let width = size(options.value()?, "width", NEGATIVE)?;
            let height = size(options.value()?, "height", NEGATIVE)?;
            self.unit = parse_unit(options.value()?)?;
            self.area = Some(Area::Rectangle(width * self.unit, height * self.unit));
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn parse_options(&mut self, arguments: &[&'a [u8]], form: Form, may_store: bool) -> Outcome {
        let mut options = Options(arguments);
        let is_search = matches!(form, Form::Search | Form::SearchStore);
        while let Some(option) = options.next() {
            if self.common_option(option, &mut options)? {
                continue;
            }
            if is_search && self.search_option(option, &mut options)? {
                continue;
            }
            if form == Form::SearchStore && is(option, "STOREDIST") {
                self.store_distance = true;
            } else if may_store && (is(option, "STORE") || is(option, "STOREDIST")) {
                self.store_distance = is(option, "STOREDIST");
                self.store = Some(options.value()?);
            } else {
                return Err(SYNTAX.into());
            }
        }
        self.check(form)
    }

    fn check(&self, form: Form) -> Outcome {
        if self.store.is_some() && (self.with_point || self.with_distance || self.with_hash) {
            let what = if form == Form::SearchStore { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            let text = format!("ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options");
            return Err(text.into());
        }
        let command = if form == Form::SearchStore { "GEOSEARCHSTORE" } else { "GEOSEARCH" };
        if self.centre.is_none() && self.member.is_none() {
            return Err(format!("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {command}").into());
        }
        if self.area.is_none() {
            return Err(format!("ERR exactly one of BYRADIUS and BYBOX can be specified for {command}").into());
        }
        if self.any && self.count == 0 {
            return Err("ERR the ANY argument requires COUNT argument".into());
        }
        Ok(())
    }
}

/// Metres from the centre if a point is within the area.
fn measure(area: &Area, centre: &Point, point: &Point) -> Option<f64> {
    match area {
        Area::Circle(radius) => Some(centre.distance(point)).filter(|distance| distance <= radius),
        Area::Rectangle(width, height) => {
            let north = Point { longitude: point.longitude, latitude: centre.latitude };
            let east = Point { longitude: centre.longitude, latitude: point.latitude };
            let inside = point.distance(&north) <= height / 2.0 && point.distance(&east) <= width / 2.0;
            inside.then(|| centre.distance(point))
        }
    }
}

/// The ranges of geohashes, ascending, whose cells cover an area: first hash, and the first one after it.
fn cover(area: &Area, centre: &Point) -> Vec<(u64, u64)> {
    // A little more than needed, since the cells are computed in floating point.
    const SLACK: f64 = 1.000_1;
    let (half_width, half_height) = match area {
        Area::Circle(radius) => (*radius, *radius),
        Area::Rectangle(width, height) => (width / 2.0, height / 2.0),
    };
    let rise = (half_height / EARTH_RADIUS_M * SLACK).to_degrees() + 1e-6;
    let (south, north) = ((centre.latitude - rise).max(-LATITUDE_MAX), (centre.latitude + rise).min(LATITUDE_MAX));
    // The area is widest, in degrees, where its latitude is highest.
    let reach = (half_width / (2.0 * EARTH_RADIUS_M)).min(1.5).sin() / south.abs().max(north.abs()).to_radians().cos();
    let run = if reach < 1.0 { (2.0 * reach.asin() * SLACK).to_degrees() + 1e-6 } else { 360.0 };
    for step in (1..=STEPS).rev() {
        let cells = f64::from(1u32 << step);
        let column = |longitude: f64| ((longitude + LONGITUDE_MAX) / (2.0 * LONGITUDE_MAX) * cells).floor() as i64;
        let row = |latitude: f64| {
            (((latitude + LATITUDE_MAX) / (2.0 * LATITUDE_MAX) * cells).floor() as i64).clamp(0, (1 << step) - 1)
        };
        let (west, east) = (column(centre.longitude - run), column(centre.longitude + run));
        let (low, high) = (row(south), row(north));
        let columns = (east - west + 1).min(1 << step);
        if columns * (high - low + 1) > CELLS_MAX {
            continue;
        }
        let shift = 2 * (STEPS - step);
        let cell = |x: i64, y: i64| interleave(x.rem_euclid(1 << step) as u64, y as u64);
        let all = (west..west + columns).flat_map(|x| (low..=high).map(move |y| (x, y)));
        let mut ranges: Vec<_> = all.map(|(x, y)| (cell(x, y) << shift, (cell(x, y) + 1) << shift)).collect();
        ranges.sort_unstable();
        return ranges;
    }
    vec![(0, 1 << (2 * STEPS))]
}

/// The members of a set that are within the area.
fn find(call: &Call<'_, '_>, set: &Elements, search: &Search<'_>, centre: &Point) -> Result<Vec<Found>, Failure> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    let Some(area) = &search.area else { return Ok(found) };
    for (first, end) in cover(area, centre) {
        let bound = |hash: u64| ordered(hash as f64).to_be_bytes().to_vec();
        let span = Span { from: bound(first), to: Some(bound(end)) };
        for member in members(call.keyspace, set, &span, false, (0, u64::MAX))? {
            let point = Point::decode(member.score);
            let Some(distance) = measure(area, centre, &point) else { continue };
            bytes += member.name.len() as u64;
            check_held(2 * found.len() as u64, bytes)?;
            found.push(Found { member, point, distance });
            if search.any && found.len() as u64 >= search.count {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

fn search(call: &mut Call<'_, '_>, form: Form, may_store: bool) -> Outcome {
    let mut search = Search::new();
    if form == Form::SearchStore {
        search.store = Some(call.arguments.required()?);
    }
    let key = call.arguments.required()?;
    let arguments = call.rest()?;
    let set = Elements::load(call.keyspace, key, Kind::SortedSet)?;
    let options = match (form, &arguments[..]) {
        (Form::Radius, [longitude, latitude, radius, unit, options @ ..]) => {
            search.centre = Some(Point::parse(longitude, latitude)?);
            search.set_radius(radius, unit)?;
            options
        }
        (Form::RadiusByMember, [member, radius, unit, options @ ..]) => {
            search.member = Some(*member);
            search.set_radius(radius, unit)?;
            options
        }
        (Form::Search | Form::SearchStore, options) => options,
        _ => return Err(SYNTAX.into()),
    };
    search.parse_options(options, form, may_store)?;
    let mut found = Vec::new();
    if let Some(set) = &set {
        let centre = match (search.centre, search.member) {
            (Some(centre), _) => centre,
            (None, member) => {
                let score = set.get(call.keyspace, member.unwrap_or_default())?.ok_or(NO_MEMBER)?;
                Point::decode(decode_score(&score)?)
            }
        };
        found = find(call, set, &search, &centre)?;
    }
    let order =
        if search.order == Order::None && search.count > 0 && !search.any { Order::Ascending } else { search.order };
    match order {
        Order::None => {}
        Order::Ascending => found.sort_by(|left, right| left.distance.total_cmp(&right.distance)),
        Order::Descending => found.sort_by(|left, right| right.distance.total_cmp(&left.distance)),
    }
    if search.count > 0 {
        found.truncate(usize::try_from(search.count).unwrap_or(usize::MAX));
    }
    match search.store {
        Some(target) => store_found(call, target, &search, found),
        None => push_found(call, &search, &found),
    }
}

fn store_found(call: &mut Call<'_, '_>, target: &[u8], search: &Search<'_>, found: Vec<Found>) -> Outcome {
    let score = |found: &Found| if search.store_distance { found.distance / search.unit } else { found.member.score };
    let members: Vec<Member> =
        found.into_iter().map(|found| Member { score: score(&found), name: found.member.name }).collect();
    store(call, target, &members)
}

fn push_found(call: &mut Call<'_, '_>, search: &Search<'_>, found: &[Found]) -> Outcome {
    let parts = [search.with_distance, search.with_hash, search.with_point].into_iter().filter(|with| *with).count();
    push_array(&mut call.reply, found.len());
    for place in found {
        if parts > 0 {
            push_array(&mut call.reply, 1 + parts);
        }
        push_bulk(&mut call.reply, &place.member.name);
        if search.with_distance {
            push_bulk(&mut call.reply, format!("{:.4}", place.distance / search.unit).as_bytes());
        }
        if search.with_hash {
            push_integer(&mut call.reply, place.member.score as i64);
        }
        if search.with_point {
            push_point(&mut call.reply, call.resp3, &place.point);
        }
        call.check_reply()?;
    }
    Ok(())
}
