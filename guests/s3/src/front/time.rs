//! Times as the API writes them. Seconds since the Unix epoch within.

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// How far the clocks of client and server may differ.
pub(crate) const SKEW_MAX_S: i64 = 15 * 60;

const COMPACT: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");
const HTTP: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// `20260131T235959Z`
pub(crate) fn parse_compact(text: &str) -> Option<i64> {
    Some(PrimitiveDateTime::parse(text, COMPACT).ok()?.assume_utc().unix_timestamp())
}

pub(crate) fn compact(seconds: i64) -> String {
    at(seconds).format(COMPACT).unwrap_or_default()
}

/// `Sat, 31 Jan 2026 23:59:59 GMT`
pub(crate) fn parse_http_date(text: &str) -> Option<i64> {
    Some(PrimitiveDateTime::parse(text, HTTP).ok()?.assume_utc().unix_timestamp())
}

/// The reverse of [`parse_http_date`].
pub(crate) fn http_date(seconds: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(seconds).ok()?.format(HTTP).ok()
}

/// The time of a row, microseconds since the Unix epoch, to the millisecond, as lists show it.
pub(crate) fn timestamp(microseconds: u64) -> s3s::dto::Timestamp {
    let nanoseconds = i128::from(microseconds / 1000) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH).into()
}

/// To the second, as headers show it.
pub(crate) fn header_timestamp(microseconds: u64) -> s3s::dto::Timestamp {
    at(i64::try_from(microseconds / 1_000_000).unwrap_or(0)).into()
}

/// Seconds of a time in a request.
pub(crate) fn seconds(timestamp: &s3s::dto::Timestamp) -> i64 {
    OffsetDateTime::from(timestamp.clone()).unix_timestamp()
}

/// Microseconds of a time in a request; times before 1970 are 0.
pub(crate) fn microseconds(timestamp: &s3s::dto::Timestamp) -> u64 {
    u64::try_from(OffsetDateTime::from(timestamp.clone()).unix_timestamp_nanos() / 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_and_nonsense_is_none() {
        assert_eq!(parse_compact("20130524T000000Z"), Some(1_369_353_600));
        assert_eq!(compact(1_369_353_600), "20130524T000000Z");
        assert_eq!(parse_http_date("Fri, 24 May 2013 00:00:00 GMT"), Some(1_369_353_600));
        for bad in ["", "20130524", "20131324T000000Z", "20130524T000000", "2013-05-24T00:00:00Z"] {
            assert_eq!(parse_compact(bad), None, "{bad}");
        }
        assert_eq!(seconds(&header_timestamp(1_369_353_600_999_999)), 1_369_353_600);
        assert_eq!(microseconds(&timestamp(1_369_353_600_123_456)), 1_369_353_600_123_000);
    }
}
