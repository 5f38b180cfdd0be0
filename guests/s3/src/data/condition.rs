//! Conditions of policies.
//!
//! A condition compares a fact of the request with values. Of a fact that the request does not have,
//! comparisons are false and their negations true, as in S3; with `IfExists` both are true.
//!
//! Deliberately absent: `aws:SourceIp`. `wasi:http` does not pass the address of a client on, and
//! behind a proxy it would be the proxy's. A policy that depends on it is refused as not implemented.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::policy::Refusal;

/// Facts of a request: names in lower case, but for what stands behind a slash.
pub(crate) type Facts = Vec<(String, String)>;

/// Facts that requests can have. Those with a slash at the end are followed by a tag's key.
const KEYS: &[&str] = &[
    "aws:currenttime",
    "aws:epochtime",
    "aws:principaltype",
    "aws:referer",
    "aws:securetransport",
    "aws:useragent",
    "aws:userid",
    "aws:username",
    "s3:authtype",
    "s3:delimiter",
    "s3:existingobjecttag/",
    "s3:max-keys",
    "s3:object-lock-legal-hold",
    "s3:object-lock-mode",
    "s3:prefix",
    "s3:requestobjecttag/",
    "s3:signatureversion",
    "s3:versionid",
    "s3:x-amz-acl",
    "s3:x-amz-content-sha256",
    "s3:x-amz-copy-source",
    "s3:x-amz-grant-full-control",
    "s3:x-amz-grant-read",
    "s3:x-amz-grant-read-acp",
    "s3:x-amz-grant-write",
    "s3:x-amz-grant-write-acp",
    "s3:x-amz-metadata-directive",
    "s3:x-amz-server-side-encryption",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "s3:x-amz-server-side-encryption-customer-algorithm",
    "s3:x-amz-storage-class",
    "s3:x-amz-website-redirect-location",
];
const SOURCE_IP: &str = "aws:sourceip";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Comparison {
    Text,
    TextInAnyCase,
    Pattern,
    Number,
    Time,
    Boolean,
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A condition of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Condition {
    comparison: Comparison,
    order: Order,
    negated: bool,
    if_exists: bool,
    key: String,
    values: Vec<String>,
}

impl Condition {
    /// Compiles one; the refusal says what cannot be enforced.
    pub(crate) fn compile(operator: &str, key: &str, values: Vec<String>) -> Result<Self, Refusal> {
        if key.eq_ignore_ascii_case(SOURCE_IP) {
            return Err(Refusal::NotImplemented(format!(
                "the condition {operator} of {key} is not implemented by this server, which does not learn the \
                 addresses of clients: leave the statement out, or have the proxy before the server enforce it"
            )));
        }
        let unknown = || format!("the condition {operator} of {key} is not implemented by this server");
        let (name, if_exists) = operator.strip_suffix("IfExists").map_or((operator, false), |name| (name, true));
        let (comparison, order, negated) = parse(name).ok_or_else(unknown)?;
        let folded = match key.split_once('/') {
            Some((start, tag)) => format!("{}/{tag}", start.to_ascii_lowercase()),
            None => key.to_ascii_lowercase(),
        };
        let is_known = |known: &&str| match known.strip_suffix('/') {
            Some(start) => folded.strip_prefix(start).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/')),
            None => **known == folded,
        };
        if !KEYS.iter().any(is_known) || (comparison == Comparison::Absent && if_exists) {
            return Err(unknown().into());
        }
        let condition = Condition { comparison, order, negated, if_exists, key: folded, values };
        match condition.values.iter().find(|value| !condition.is_valid(value)) {
            Some(value) => {
                Err(format!("the condition {operator} of {key} has the value '{value}', which is none").into())
            }
            None => Ok(condition),
        }
    }

    fn is_valid(&self, value: &str) -> bool {
        if value.contains("${") {
            return false;
        }
        match self.comparison {
            Comparison::Text | Comparison::TextInAnyCase | Comparison::Pattern => true,
            Comparison::Number => number(value).is_some(),
            Comparison::Time => seconds(value).is_some(),
            Comparison::Boolean | Comparison::Absent => matches!(value, "true" | "false"),
        }
    }

    /// Whether it holds for a request with these facts.
    pub(crate) fn holds(&self, fact: &dyn Fn(&str) -> Option<String>) -> bool {
        let fact = fact(&self.key);
        if self.comparison == Comparison::Absent {
            return self.values.iter().any(|value| (value == "true") == fact.is_none());
        }
        let Some(fact) = fact else { return self.negated || self.if_exists };
        self.values.iter().any(|value| self.fits(&fact, value)) != self.negated
    }

    fn fits(&self, fact: &str, value: &str) -> bool {
        match self.comparison {
            Comparison::Text => fact == value,
            Comparison::TextInAnyCase => fact.eq_ignore_ascii_case(value),
            Comparison::Pattern => is_like(value, fact),
            Comparison::Number => self.compares(number(fact), number(value)),
            Comparison::Time => self.compares(seconds(fact), seconds(value)),
            Comparison::Boolean => fact == value,
            Comparison::Absent => false,
        }
    }

    fn compares<T: PartialOrd>(&self, fact: Option<T>, value: Option<T>) -> bool {
        let (Some(fact), Some(value)) = (fact, value) else { return false };
        match self.order {
            Order::Equal => fact == value,
            Order::Less => fact < value,
            Order::LessOrEqual => fact <= value,
            Order::Greater => fact > value,
            Order::GreaterOrEqual => fact >= value,
        }
    }

    /// True if only some who are known beforehand can meet it, so that a statement with it is not
    /// for everybody.
    pub(crate) fn narrows(&self) -> bool {
        let who = matches!(self.key.as_str(), "aws:username" | "aws:userid");
        who && self.comparison == Comparison::Text && !self.negated && !self.if_exists
    }
}

fn parse(name: &str) -> Option<(Comparison, Order, bool)> {
    let ordered = |comparison, rest: &str| {
        let (order, negated) = match rest {
            "Equals" => (Order::Equal, false),
            "NotEquals" => (Order::Equal, true),
            "LessThan" => (Order::Less, false),
            "LessThanEquals" => (Order::LessOrEqual, false),
            "GreaterThan" => (Order::Greater, false),
            "GreaterThanEquals" => (Order::GreaterOrEqual, false),
            _ => return None,
        };
        Some((comparison, order, negated))
    };
    if let Some(rest) = name.strip_prefix("Numeric") {
        return ordered(Comparison::Number, rest);
    }
    if let Some(rest) = name.strip_prefix("Date") {
        return ordered(Comparison::Time, rest);
    }
    let (comparison, negated) = match name {
        "StringEquals" => (Comparison::Text, false),
        "StringNotEquals" => (Comparison::Text, true),
        "StringEqualsIgnoreCase" => (Comparison::TextInAnyCase, false),
        "StringNotEqualsIgnoreCase" => (Comparison::TextInAnyCase, true),
        "StringLike" => (Comparison::Pattern, false),
        "StringNotLike" => (Comparison::Pattern, true),
        "Bool" => (Comparison::Boolean, false),
        "Null" => (Comparison::Absent, false),
        _ => return None,
    };
    Some((comparison, Order::Equal, negated))
}

fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// A time as a number of seconds since the Unix epoch, or as RFC 3339 has it.
fn seconds(text: &str) -> Option<f64> {
    let at = || OffsetDateTime::parse(text, &Rfc3339).ok().map(|at| at.unix_timestamp() as f64);
    number(text).or_else(at)
}

/// True if `text` is `pattern`, in which `*` is any text and `?` any character.
pub(crate) fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last star does not fit.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p + 1, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((after, at)) = star {
            star = Some((after, at + 1));
            (p, t) = (after, at + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|character| *character == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_wildcards_do() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xaybz", true),
            ("a*b*c", "abxbc", true),
            ("", "a", false),
            ("a**", "a", true),
        ] {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
        }
    }

    /// Fails if an operator, its negation, or what it says of an absent fact is another one.
    #[test]
    fn conditions_compare_as_they_say() {
        let holds = |operator: &str, key: &str, value: &str, fact: Option<&str>| {
            let condition = Condition::compile(operator, key, vec![value.to_owned()]).unwrap();
            condition.holds(&|name| fact.filter(|_| name == condition.key).map(str::to_owned))
        };
        for (operator, key, value, fact, expected) in [
            ("StringEquals", "s3:prefix", "a", Some("a"), true),
            ("StringEquals", "s3:prefix", "a", Some("A"), false),
            ("StringEqualsIgnoreCase", "s3:prefix", "a", Some("A"), true),
            ("StringNotEquals", "s3:prefix", "a", Some("b"), true),
            ("StringNotEquals", "s3:prefix", "a", None, true),
            ("StringEquals", "s3:prefix", "a", None, false),
            ("StringEqualsIfExists", "s3:prefix", "a", None, true),
            ("StringEqualsIfExists", "s3:prefix", "a", Some("b"), false),
            ("StringLike", "aws:Referer", "http://a/*", Some("http://a/b"), true),
            ("StringNotLike", "aws:Referer", "http://a/*", Some("http://a/b"), false),
            ("NumericLessThanEquals", "s3:max-keys", "10", Some("10"), true),
            ("NumericLessThan", "s3:max-keys", "10", Some("10"), false),
            ("NumericGreaterThan", "s3:max-keys", "10", Some("x"), false),
            ("DateLessThan", "aws:CurrentTime", "2026-01-01T00:00:00Z", Some("1767225599"), true),
            ("DateGreaterThanEquals", "aws:CurrentTime", "2026-01-01T00:00:00Z", Some("1767225600"), true),
            ("Bool", "aws:SecureTransport", "false", Some("false"), true),
            ("Null", "s3:x-amz-acl", "true", None, true),
            ("Null", "s3:x-amz-acl", "false", None, false),
            ("StringEquals", "s3:ExistingObjectTag/Team", "a", Some("a"), true),
        ] {
            assert_eq!(holds(operator, key, value, fact), expected, "{operator} {key} {value} {fact:?}");
        }
    }

    /// Fails if what cannot be enforced is ignored, or a condition on addresses is not named.
    #[test]
    fn what_cannot_be_enforced_is_refused() {
        let compile =
            |operator: &str, key: &str, value: &str| Condition::compile(operator, key, vec![value.to_owned()]);
        for (operator, key, value) in [
            ("StringMatches", "s3:prefix", "a"),
            ("StringEquals", "s3:unknown", "a"),
            ("StringEquals", "s3:ExistingObjectTag/", "a"),
            ("StringEquals", "s3:prefix", "${aws:username}"),
            ("NumericEquals", "s3:max-keys", "many"),
            ("DateEquals", "aws:CurrentTime", "tomorrow"),
            ("Bool", "aws:SecureTransport", "yes"),
            ("IpAddress", "s3:prefix", "10.0.0.0/8"),
            ("NullIfExists", "s3:prefix", "true"),
        ] {
            assert!(matches!(compile(operator, key, value), Err(Refusal::Malformed(_))), "{operator} {key} {value}");
        }
        for operator in ["IpAddress", "NotIpAddress", "StringEquals", "IpAddressIfExists"] {
            let refused = compile(operator, "AWS:SourceIP", "192.0.2.0/24").unwrap_err();
            let Refusal::NotImplemented(why) = refused else { panic!("{refused:?}") };
            assert!(why.contains(operator) && why.contains("AWS:SourceIP"), "{why}");
        }
        assert!(compile("StringEquals", "aws:username", "a").unwrap().narrows());
        assert!(!compile("StringLike", "aws:username", "a*").unwrap().narrows());
        assert!(!compile("StringNotEquals", "aws:username", "a").unwrap().narrows());
        assert!(!compile("StringLike", "aws:Referer", "http://a/*").unwrap().narrows());
    }
}
