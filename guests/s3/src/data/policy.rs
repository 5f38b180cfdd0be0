//! Who may do what: bucket policies, canned access control lists, and the switches that keep a
//! bucket from becoming public.
//!
//! A policy is compiled when it is put, and what this version does not understand is refused then:
//! a policy of which a part was ignored would protect less than it says. The order of the decision:
//! an explicit deny; the owner; a policy that allows; the access control list. There is one owner,
//! the root key; everybody else is anonymous.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rows::{Acl, Configuration};

/// Bytes of a policy.
pub(crate) const POLICY_BYTES_MAX: usize = 20 << 10;
/// The account that owns all buckets, in policies.
pub(crate) const ACCOUNT: &str = "000000000000";

/// Who asks, as far as decisions depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Caller {
    /// The owner; else anonymous.
    pub(crate) owner: bool,
    /// The parameter `prefix` of a list.
    pub(crate) prefix: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Condition {
    /// `aws:SecureTransport` is this. Requests come without TLS, from a proxy or a client.
    Secure(bool),
    /// `s3:prefix` is, or is like, one of these; or is none of them.
    Prefix { patterns: Vec<String>, like: bool, not: bool },
}

/// A statement of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Statement {
    allow: bool,
    /// Everybody; else the owner.
    everybody: bool,
    actions: Vec<String>,
    /// Without `arn:aws:s3:::`.
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

impl Statement {
    fn matches(&self, caller: &Caller, action: &str, resource: &str) -> bool {
        let who = self.everybody || caller.owner;
        who && self.actions.iter().any(|pattern| is_like(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase()))
            && self.resources.iter().any(|pattern| is_like(pattern, resource))
            && self.conditions.iter().all(|condition| condition.holds(caller))
    }
}

impl Condition {
    fn holds(&self, caller: &Caller) -> bool {
        match self {
            Condition::Secure(secure) => !*secure,
            Condition::Prefix { patterns, like, not } => {
                let Some(prefix) = &caller.prefix else { return *not };
                let found =
                    patterns.iter().any(|pattern| if *like { is_like(pattern, prefix) } else { pattern == prefix });
                found != *not
            }
        }
    }
}

/// True if `text` is `pattern`, in which `*` is any text and `?` any character.
fn is_like(pattern: &str, text: &str) -> bool {
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

/// Whether `caller` may do `action` (`s3:GetObject`, say) to a bucket, or to a key of it with an
/// access control list of its own.
pub(crate) fn may(
    configuration: &Configuration,
    bucket: &str,
    caller: &Caller,
    action: &str,
    key: Option<(&str, Acl)>,
) -> bool {
    let resource = key.map_or_else(|| bucket.to_owned(), |(key, _)| format!("{bucket}/{key}"));
    let statements = configuration.policy.iter().flat_map(|(_, statements)| statements);
    let mut matching = statements.filter(|statement| statement.matches(caller, action, &resource)).peekable();
    let found = matching.peek().is_some();
    let denied = matching.any(|statement| !statement.allow);
    // Who could not repair a policy any more would be locked out by a slip of their own.
    let repairs =
        caller.owner && matches!(action, "s3:GetBucketPolicy" | "s3:PutBucketPolicy" | "s3:DeleteBucketPolicy");
    if denied && !repairs {
        return false;
    }
    if caller.owner {
        return true;
    }
    let block = configuration.public_access.unwrap_or_default();
    if found && !block.restrict {
        return true;
    }
    !block.ignore_acls && !configuration.has_no_acls() && acl_allows(configuration.acl, action, key.map(|(_, acl)| acl))
}

fn acl_allows(bucket: Acl, action: &str, object: Option<Acl>) -> bool {
    match action {
        "s3:GetObject" | "s3:GetObjectVersion" => object.is_some_and(Acl::is_public),
        "s3:ListBucket" | "s3:ListBucketVersions" | "s3:ListBucketMultipartUploads" => bucket.is_public(),
        "s3:PutObject" | "s3:DeleteObject" | "s3:AbortMultipartUpload" => bucket == Acl::PublicReadWrite,
        _ => false,
    }
}

/// True if anybody may do anything by this policy.
pub(crate) fn is_public(statements: &[Statement]) -> bool {
    statements.iter().any(|statement| statement.allow && statement.everybody)
}

/// Compiles the policy of a bucket; the sentence says what cannot be enforced.
pub(crate) fn compile(bucket: &str, text: &str) -> Result<Vec<Statement>, String> {
    if text.len() > POLICY_BYTES_MAX {
        return Err(format!("the policy has {} bytes, and may have {POLICY_BYTES_MAX}", text.len()));
    }
    let policy: Value = serde_json::from_str(text).map_err(|error| format!("the policy is not JSON: {error}"))?;
    let fields = policy.as_object().ok_or("the policy is not a JSON object")?;
    only(fields, &["Version", "Id", "Statement"], "the policy")?;
    if let Some(version) = fields.get("Version")
        && !["2012-10-17", "2008-10-17"].iter().any(|known| version == known)
    {
        return Err(format!("the policy's Version is {version}: use \"2012-10-17\""));
    }
    let statements = match fields.get("Statement") {
        Some(Value::Array(statements)) if !statements.is_empty() => statements.iter().collect(),
        Some(statement @ Value::Object(_)) => vec![statement],
        _ => return Err("the policy has no Statement".to_owned()),
    };
    statements.into_iter().map(|statement| compile_statement(bucket, statement)).collect()
}

fn compile_statement(bucket: &str, statement: &Value) -> Result<Statement, String> {
    let fields = statement.as_object().ok_or("a statement is not a JSON object")?;
    only(fields, &["Sid", "Effect", "Principal", "Action", "Resource", "Condition"], "a statement")?;
    let allow = match fields.get("Effect").and_then(Value::as_str) {
        Some("Allow") => true,
        Some("Deny") => false,
        other => return Err(format!("a statement's Effect is {other:?}: use \"Allow\" or \"Deny\"")),
    };
    let everybody = principal(fields.get("Principal").ok_or("a statement has no Principal")?)?;
    let actions = texts(fields.get("Action"), "Action")?;
    if let Some(action) =
        actions.iter().find(|action| *action != "*" && !action.to_ascii_lowercase().starts_with("s3:"))
    {
        return Err(format!("the action '{action}' is none of S3"));
    }
    let mut resources = Vec::new();
    for resource in texts(fields.get("Resource"), "Resource")? {
        let path = resource
            .strip_prefix("arn:aws:s3:::")
            .ok_or_else(|| format!("the resource '{resource}' does not begin with arn:aws:s3:::"))?;
        let own =
            path == "*" || path == bucket || path.strip_prefix(bucket).is_some_and(|rest| rest.starts_with(['/', '*']));
        if !own {
            return Err(format!("the resource '{resource}' is not in the bucket {bucket}"));
        }
        resources.push(path.to_owned());
    }
    let conditions = fields.get("Condition").map(conditions).transpose()?.unwrap_or_default();
    Ok(Statement { allow, everybody, actions, resources, conditions })
}

/// True if it is everybody.
fn principal(value: &Value) -> Result<bool, String> {
    let names = match value {
        Value::String(name) => vec![name.clone()],
        Value::Object(kinds) => {
            only(kinds, &["AWS", "CanonicalUser"], "a Principal")?;
            let lists = kinds.values().map(|names| texts(Some(names), "Principal"));
            lists.collect::<Result<Vec<_>, _>>()?.concat()
        }
        _ => return Err("a Principal is neither \"*\" nor an object".to_owned()),
    };
    let owner = |name: &str| name == ACCOUNT || name == owner_id() || name == format!("arn:aws:iam::{ACCOUNT}:root");
    match names.iter().find(|name| *name != "*" && !owner(name)) {
        Some(name) => {
            Err(format!("there is no principal '{name}': use \"*\", or arn:aws:iam::{ACCOUNT}:root for the owner"))
        }
        None => Ok(names.iter().any(|name| name == "*")),
    }
}

fn conditions(value: &Value) -> Result<Vec<Condition>, String> {
    let operators = value.as_object().ok_or("a Condition is not a JSON object")?;
    let mut found = Vec::new();
    for (operator, keys) in operators {
        for (key, values) in keys.as_object().ok_or_else(|| format!("the condition {operator} is not an object"))? {
            let values = texts(Some(values), key)?;
            found.push(match (operator.as_str(), key.to_ascii_lowercase().as_str()) {
                ("Bool", "aws:securetransport")
                    if values.len() == 1 && ["true", "false"].contains(&values[0].as_str()) =>
                {
                    Condition::Secure(values[0] == "true")
                }
                ("StringEquals", "s3:prefix") => Condition::Prefix { patterns: values, like: false, not: false },
                ("StringNotEquals", "s3:prefix") => Condition::Prefix { patterns: values, like: false, not: true },
                ("StringLike", "s3:prefix") => Condition::Prefix { patterns: values, like: true, not: false },
                ("StringNotLike", "s3:prefix") => Condition::Prefix { patterns: values, like: true, not: true },
                _ => return Err(format!("the condition {operator} of {key} is not implemented by this server")),
            });
        }
    }
    Ok(found)
}

fn only(fields: &serde_json::Map<String, Value>, known: &[&str], what: &str) -> Result<(), String> {
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("{what} has the element {name}, which is not implemented by this server")),
        None => Ok(()),
    }
}

/// A text or a list of them.
fn texts(value: Option<&Value>, what: &str) -> Result<Vec<String>, String> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(flag) => Ok(flag.to_string()),
        other => Err(format!("{what} is {other}, which is no text")),
    };
    match value {
        Some(Value::Array(values)) if !values.is_empty() => values.iter().map(one).collect(),
        Some(Value::Array(_)) | None => Err(format!("a statement has no {what}")),
        Some(value) => Ok(vec![one(value)?]),
    }
}

/// The canonical id of the owner of all buckets.
pub(crate) fn owner_id() -> String {
    crate::digest::hex(&crate::digest::sha256(b"recoil s3 owner"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::rows::PublicAccessBlock;

    const ANYBODY: Caller = Caller { owner: false, prefix: None };
    const OWNER: Caller = Caller { owner: true, prefix: None };

    fn configuration(statements: &str) -> Configuration {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":{statements}}}"#);
        let statements = compile("b", &text).unwrap();
        Configuration { policy: Some((text, statements)), ..Default::default() }
    }

    fn read(configuration: &Configuration, caller: &Caller, key: &str) -> bool {
        may(configuration, "b", caller, "s3:GetObject", Some((key, Acl::Private)))
    }

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

    #[test]
    fn a_policy_gives_and_takes() {
        let public = r#"{"Effect":"Allow","Principal":"*","Action":"s3:getObject","Resource":"arn:aws:s3:::b/pub/*"}"#;
        let found = configuration(public);
        assert!(read(&found, &ANYBODY, "pub/a") && !read(&found, &ANYBODY, "a"));
        assert!(!may(&found, "b", &ANYBODY, "s3:PutObject", Some(("pub/a", Acl::Private))));
        assert!(read(&found, &OWNER, "a"));
        let deny =
            r#"{"Effect":"Deny","Principal":{"AWS":["*"]},"Action":["s3:*"],"Resource":"arn:aws:s3:::b/pub/secret"}"#;
        let both = configuration(&format!("[{public},{deny}]"));
        assert!(
            !read(&both, &ANYBODY, "pub/secret")
                && !read(&both, &OWNER, "pub/secret")
                && read(&both, &ANYBODY, "pub/a")
        );
        let all = configuration(
            r#"{"Effect":"Deny","Principal":"*","Action":"*","Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]}"#,
        );
        assert!(may(&all, "b", &OWNER, "s3:PutBucketPolicy", None), "nobody is locked out");
        assert!(!may(&all, "b", &OWNER, "s3:ListBucket", None));
        let mut restricted = configuration(public);
        restricted.public_access = Some(PublicAccessBlock { restrict: true, ..Default::default() });
        assert!(!read(&restricted, &ANYBODY, "pub/a"));
    }

    #[test]
    fn conditions_are_kept() {
        let list = |condition: &str| {
            let statement = r#"{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket",
                "Resource":"arn:aws:s3:::b","Condition":C}"#;
            let found = configuration(&statement.replace(":C}", &format!(":{condition}}}")));
            move |prefix: Option<&str>| {
                let caller = Caller { owner: false, prefix: prefix.map(str::to_owned) };
                may(&found, "b", &caller, "s3:ListBucket", None)
            }
        };
        let like = list(r#"{"StringLike":{"s3:prefix":["a/*"]}}"#);
        assert!(like(Some("a/b")) && !like(Some("b")) && !like(None));
        let not = list(r#"{"StringNotEquals":{"s3:prefix":"a"}}"#);
        assert!(!not(Some("a")) && not(Some("b")));
        let secure = list(r#"{"Bool":{"aws:SecureTransport":"true"}}"#);
        assert!(!secure(None));
    }

    /// Fails if a part of a policy is ignored.
    #[test]
    fn what_is_not_understood_is_refused() {
        let statement = |from: &str, to: &str| {
            let good = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}"#;
            assert!(good.contains(from));
            compile("b", &format!(r#"{{"Statement":[{}]}}"#, good.replace(from, to)))
        };
        assert!(statement("Allow", "Allow").is_ok());
        for (from, to) in [
            ("Allow", "allow"),
            (r#""Principal":"*""#, r#""NotPrincipal":"*""#),
            (r#""*""#, r#"{"AWS":"arn:aws:iam::1:user/x"}"#),
            (r#""*""#, r#"{"Federated":"x"}"#),
            ("s3:GetObject", "ec2:Run"),
            (":b/*", ":other/*"),
            (":b/*", ":bb"),
            (r#""Action""#, r#""NotAction""#),
            (r#""Resource":"#, r#""Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}},"Resource":"#),
        ] {
            assert!(statement(from, to).is_err(), "{from} {to}");
        }
        assert!(
            compile("b", "{").is_err() && compile("b", "[]").is_err() && compile("b", r#"{"Statement":[]}"#).is_err()
        );
        assert!(compile("b", &" ".repeat(POLICY_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn lists_of_access_are_canned() {
        let of = |acl| Configuration { acl, ..Default::default() };
        let anybody =
            |configuration: &Configuration, action: &str, object| may(configuration, "b", &ANYBODY, action, object);
        assert!(
            !anybody(&of(Acl::PublicRead), "s3:GetObject", Some(("k", Acl::Private))),
            "a bucket's list is not its objects'"
        );
        assert!(anybody(&of(Acl::Private), "s3:GetObject", Some(("k", Acl::PublicRead))));
        assert!(
            anybody(&of(Acl::PublicRead), "s3:ListBucket", None) && !anybody(&of(Acl::Private), "s3:ListBucket", None)
        );
        assert!(anybody(&of(Acl::PublicReadWrite), "s3:PutObject", Some(("k", Acl::Private))));
        assert!(!anybody(&of(Acl::PublicReadWrite), "s3:PutBucketPolicy", None));
        let mut ignored = of(Acl::PublicRead);
        ignored.public_access = Some(PublicAccessBlock { ignore_acls: true, ..Default::default() });
        assert!(!anybody(&ignored, "s3:ListBucket", None));
    }
}
