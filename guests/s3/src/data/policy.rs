//! Who may do what: bucket policies, access control lists, keys that were made for a bucket, and
//! the switches that keep a bucket from becoming public.
//!
//! A policy is compiled when it is put, and what this version does not understand is refused then:
//! a policy of which a part was ignored would protect less than it says. The order of the decision:
//! what the key is limited to; an explicit deny; the owner; a policy that allows; what the key was
//! made for; the access control list.
//!
//! A bucket's owner may do everything to the bucket, and remove every object of it, but not read an
//! object that another user owns: that is for its owner, or its access control list, to allow. A
//! policy of the bucket cannot allow it either.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::access::{ACCOUNT, Acl, Owner, Permission, User};
use super::condition::{Condition, Facts, is_like};
use super::rows::Bucket;

/// Bytes of a policy.
pub(crate) const POLICY_BYTES_MAX: usize = 20 << 10;

/// Who asks, as far as decisions depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Caller {
    /// None for one who did not sign.
    pub(crate) user: Option<User>,
    /// What conditions of policies may look at.
    pub(crate) facts: Facts,
}

impl Caller {
    /// The store itself, and the root key.
    pub(crate) fn root() -> Self {
        Caller { user: Some(User::root()), facts: vec![] }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.root)
    }

    /// The canonical id, none for one who did not sign.
    pub(crate) fn id(&self) -> Option<&str> {
        self.user.as_ref().map(|user| user.owner.id.as_str())
    }

    /// The same caller with a fact that only the operation knows.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.facts.retain(|(known, _)| known != name);
        self.facts.push((name.to_owned(), value.to_owned()));
        self
    }

    fn fact(&self, name: &str) -> Option<String> {
        self.facts.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

/// Whom a statement is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Principal {
    Everybody,
    /// A canonical id, or the account of the root key.
    Id(String),
    /// A user by the name of a key, or by a canonical id, as `arn:aws:iam::…:user/NAME` has it.
    User(String),
    /// Users of other accounts, whom this store does not have.
    Nobody,
}

impl Principal {
    fn is(&self, user: Option<&User>) -> bool {
        match (self, user) {
            (Principal::Everybody, _) => true,
            (Principal::Nobody, _) | (_, None) => false,
            (Principal::Id(id), Some(user)) => user.owner.id == *id || (user.root && id == ACCOUNT),
            (Principal::User(name), Some(user)) => user.name == *name || user.owner.id == *name,
        }
    }
}

/// A statement of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Statement {
    allow: bool,
    principals: Vec<Principal>,
    actions: Vec<String>,
    /// The actions are those that it is not about.
    not_actions: bool,
    /// Without `arn:aws:s3:::`.
    resources: Vec<String>,
    /// The resources are those that it is not about.
    not_resources: bool,
    conditions: Vec<Condition>,
}

impl Statement {
    fn matches(&self, question: &Question<'_>, resource: &str) -> bool {
        let action = question.action.to_ascii_lowercase();
        self.principals.iter().any(|principal| principal.is(question.caller.user.as_ref()))
            && self.actions.iter().any(|pattern| is_like(&pattern.to_ascii_lowercase(), &action)) != self.not_actions
            && self.resources.iter().any(|pattern| is_like(pattern, resource)) != self.not_resources
            && self.conditions.iter().all(|condition| condition.holds(&|name| question.fact(name)))
    }
}

/// An object that is there.
#[derive(Clone, Copy)]
pub(crate) struct Object<'a> {
    /// None for the bucket's owner.
    pub(crate) owner: Option<&'a Owner>,
    /// None for the list that gives the owner everything, and nobody else anything.
    pub(crate) acl: Option<&'a Acl>,
    pub(crate) tags: &'a [(String, String)],
}

/// Whether somebody may do something.
pub(crate) struct Question<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) caller: &'a Caller,
    /// `s3:GetObject`, say.
    pub(crate) action: &'a str,
    /// None if it is about the bucket.
    pub(crate) key: Option<&'a str>,
    /// The object at the key, if the action is about one that is there.
    pub(crate) object: Option<Object<'a>>,
    pub(crate) now_us: u64,
}

impl Question<'_> {
    pub(crate) fn may(&self) -> bool {
        let (bucket, user) = (self.bucket, self.caller.user.as_ref());
        if user.is_some_and(|user| user.grants.read_only) && !is_reading(self.action) {
            return false;
        }
        let resource = self.key.map_or_else(|| bucket.name.clone(), |key| format!("{}/{key}", bucket.name));
        let statements = bucket.configuration.policy.iter().flat_map(|(_, statements)| statements);
        let matching: Vec<&Statement> = statements.filter(|statement| statement.matches(self, &resource)).collect();
        let owns_bucket = self.caller.id() == Some(bucket.owner.id.as_str()) || self.caller.is_root();
        // Who could not repair a policy any more would be locked out by a slip of their own.
        let repairs =
            owns_bucket && matches!(self.action, "s3:GetBucketPolicy" | "s3:PutBucketPolicy" | "s3:DeleteBucketPolicy");
        if matching.iter().any(|statement| !statement.allow) && !repairs {
            return false;
        }
        if self.caller.is_root() || self.owns(owns_bucket) {
            return true;
        }
        let block = bucket.configuration.public_access.unwrap_or_default();
        let is_restricted =
            block.restrict && bucket.configuration.policy.iter().any(|(_, statements)| is_public(statements));
        if !matching.is_empty() && !is_restricted && !self.is_foreign() {
            return true;
        }
        if user.is_some_and(|user| user.is_granted(&bucket.name)) && is_for_keys(self.action) {
            return true;
        }
        !bucket.configuration.has_no_acls() && self.is_listed(block.ignore_acls)
    }

    /// The owner of the object.
    fn object_owner(&self, object: &Object<'_>) -> String {
        let owner = object.owner.filter(|_| !self.bucket.configuration.has_no_acls());
        owner.unwrap_or(&self.bucket.owner).id.clone()
    }

    fn owns(&self, owns_bucket: bool) -> bool {
        let Some(object) = &self.object else { return owns_bucket };
        let owns_object = self.caller.id() == Some(self.object_owner(object).as_str());
        if is_about_content(self.action) {
            return owns_object;
        }
        owns_bucket || (owns_object && is_about_object(self.action))
    }

    /// The object is another user's, so that the bucket's policy has no say in who may read it.
    fn is_foreign(&self) -> bool {
        let other = |object: &Object<'_>| self.object_owner(object) != self.bucket.owner.id;
        is_about_content(self.action) && self.object.as_ref().is_some_and(other)
    }

    fn is_listed(&self, ignore_public: bool) -> bool {
        let user = self.caller.user.as_ref();
        let by_bucket = |permission| {
            let configuration = &self.bucket.configuration;
            configuration.acl.allows(&self.bucket.owner.id, user, permission, ignore_public)
        };
        let by_object = |permission| {
            let Some(object) = &self.object else { return false };
            let acl = object.acl.cloned().unwrap_or_default();
            acl.allows(&self.object_owner(object), user, permission, ignore_public)
        };
        match self.action {
            "s3:ListBucket" | "s3:ListBucketVersions" | "s3:ListBucketMultipartUploads" => by_bucket(Permission::Read),
            "s3:PutObject" | "s3:DeleteObject" | "s3:AbortMultipartUpload" | "s3:ListMultipartUploadParts" => {
                by_bucket(Permission::Write)
            }
            "s3:GetBucketAcl" => by_bucket(Permission::ReadAcp),
            "s3:PutBucketAcl" => by_bucket(Permission::WriteAcp),
            "s3:GetObject" | "s3:GetObjectVersion" | "s3:GetObjectAttributes" => by_object(Permission::Read),
            "s3:GetObjectAcl" => by_object(Permission::ReadAcp),
            "s3:PutObjectAcl" => by_object(Permission::WriteAcp),
            _ => false,
        }
    }

    fn fact(&self, name: &str) -> Option<String> {
        let user = self.caller.user.as_ref();
        match name {
            "aws:currenttime" | "aws:epochtime" => Some((self.now_us / 1_000_000).to_string()),
            // Requests come without TLS, from a proxy or a client.
            "aws:securetransport" => Some("false".to_owned()),
            "aws:username" => user.map(|user| user.name.clone()),
            "aws:userid" => user.map(|user| user.owner.id.clone()),
            "aws:principaltype" => Some(
                match user {
                    None => "Anonymous",
                    Some(user) if user.root => "Account",
                    Some(_) => "User",
                }
                .to_owned(),
            ),
            _ => match name.strip_prefix("s3:existingobjecttag/") {
                Some(tag) => {
                    let tags = self.object.as_ref().map(|object| object.tags).unwrap_or_default();
                    tags.iter().find(|(known, _)| known == tag).map(|(_, value)| value.clone())
                }
                None => self.caller.fact(name),
            },
        }
    }
}

fn is_reading(action: &str) -> bool {
    action.starts_with("s3:Get") || action.starts_with("s3:List")
}

/// What only the object's owner decides.
fn is_about_content(action: &str) -> bool {
    matches!(
        action,
        "s3:GetObject" | "s3:GetObjectVersion" | "s3:GetObjectAttributes" | "s3:GetObjectAcl" | "s3:PutObjectAcl"
    )
}

/// What the owner of an object may do to it, beside what [`is_about_content`].
fn is_about_object(action: &str) -> bool {
    let reads = action.starts_with("s3:GetObject");
    // An upload in parts is an object of whoever began it.
    let of_uploads = matches!(action, "s3:AbortMultipartUpload" | "s3:ListMultipartUploadParts");
    reads || of_uploads || matches!(action, "s3:PutObjectTagging" | "s3:DeleteObjectTagging")
}

/// What a key may do to a bucket that it was made for: use the objects, and see how the bucket works.
fn is_for_keys(action: &str) -> bool {
    const ACTIONS: &[&str] = &[
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:DeleteObjectTagging",
        "s3:DeleteObjectVersion",
        "s3:GetBucketLocation",
        "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketVersioning",
        "s3:PutObject",
        "s3:PutObjectTagging",
    ];
    action.starts_with("s3:List") || action.starts_with("s3:GetObject") || ACTIONS.contains(&action)
}

/// True if anybody may do anything by this policy.
pub(crate) fn is_public(statements: &[Statement]) -> bool {
    statements.iter().any(|statement| {
        statement.allow
            && statement.principals.contains(&Principal::Everybody)
            && !statement.conditions.iter().any(Condition::narrows)
    })
}

/// Why a policy is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is no policy, or has what this server does not understand.
    Malformed(String),
    /// It depends on what this server cannot find out.
    NotImplemented(String),
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Refusal::Malformed(why)
    }
}

impl From<&str> for Refusal {
    fn from(why: &str) -> Self {
        Refusal::Malformed(why.to_owned())
    }
}

/// Compiles the policy of a bucket; the refusal says what cannot be enforced.
pub(crate) fn compile(bucket: &str, text: &str) -> Result<Vec<Statement>, Refusal> {
    if text.len() > POLICY_BYTES_MAX {
        return Err(format!("the policy has {} bytes, and may have {POLICY_BYTES_MAX}", text.len()).into());
    }
    let policy: Value = serde_json::from_str(text).map_err(|error| format!("the policy is not JSON: {error}"))?;
    let fields = policy.as_object().ok_or("the policy is not a JSON object")?;
    only(fields, &["Version", "Id", "Statement"], "the policy")?;
    if let Some(version) = fields.get("Version")
        && !["2012-10-17", "2008-10-17"].iter().any(|known| version == known)
    {
        return Err(format!("the policy's Version is {version}: use \"2012-10-17\"").into());
    }
    let statements = match fields.get("Statement") {
        Some(Value::Array(statements)) if !statements.is_empty() => statements.iter().collect(),
        Some(statement @ Value::Object(_)) => vec![statement],
        _ => return Err("the policy has no Statement".into()),
    };
    statements.into_iter().map(|statement| compile_statement(bucket, statement)).collect()
}

fn compile_statement(bucket: &str, statement: &Value) -> Result<Statement, Refusal> {
    let fields = statement.as_object().ok_or("a statement is not a JSON object")?;
    const KNOWN: &[&str] =
        &["Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition"];
    only(fields, KNOWN, "a statement")?;
    let allow = match fields.get("Effect").and_then(Value::as_str) {
        Some("Allow") => true,
        Some("Deny") => false,
        other => return Err(format!("a statement's Effect is {other:?}: use \"Allow\" or \"Deny\"").into()),
    };
    let principals = principals(fields.get("Principal").ok_or("a statement has no Principal")?)?;
    let (actions, not_actions) = either(fields, "Action", "NotAction")?;
    if let Some(action) =
        actions.iter().find(|action| *action != "*" && !action.to_ascii_lowercase().starts_with("s3:"))
    {
        return Err(format!("the action '{action}' is none of S3").into());
    }
    let (names, not_resources) = either(fields, "Resource", "NotResource")?;
    let mut resources = Vec::new();
    for resource in names {
        let path = resource
            .strip_prefix("arn:aws:s3:::")
            .ok_or_else(|| format!("the resource '{resource}' does not begin with arn:aws:s3:::"))?;
        if !is_like(path.split('/').next().unwrap_or(path), bucket) {
            return Err(format!("the resource '{resource}' is not in the bucket {bucket}").into());
        }
        if path.contains("${") {
            return Err(format!(
                "the resource '{resource}' has a policy variable, which is not implemented by this server"
            )
            .into());
        }
        resources.push(path.to_owned());
    }
    let conditions = fields.get("Condition").map(conditions).transpose()?.unwrap_or_default();
    Ok(Statement { allow, principals, actions, not_actions, resources, not_resources, conditions })
}

/// The texts of one of two elements, and whether it is the negated one.
fn either(fields: &serde_json::Map<String, Value>, name: &str, negated: &str) -> Result<(Vec<String>, bool), String> {
    match (fields.get(name), fields.get(negated)) {
        (Some(_), Some(_)) => Err(format!("a statement has {name} and {negated}")),
        (None, Some(value)) => Ok((texts(Some(value), negated)?, true)),
        (value, None) => Ok((texts(value, name)?, false)),
    }
}

fn principals(value: &Value) -> Result<Vec<Principal>, String> {
    let mut found = Vec::new();
    match value {
        Value::String(name) if name == "*" => found.push(Principal::Everybody),
        Value::Object(kinds) => {
            only(kinds, &["AWS", "CanonicalUser"], "a Principal")?;
            for (kind, names) in kinds {
                for name in texts(Some(names), "Principal")? {
                    found.push(if kind == "AWS" { principal(&name)? } else { Principal::Id(name) });
                }
            }
        }
        _ => return Err("a Principal is neither \"*\" nor an object".to_owned()),
    }
    if found.is_empty() {
        return Err("a statement's Principal is empty".to_owned());
    }
    Ok(found)
}

/// `*`, an account, a canonical id, `arn:aws:iam::ACCOUNT:root` or `arn:aws:iam::ACCOUNT:user/NAME`.
fn principal(name: &str) -> Result<Principal, String> {
    if name == "*" {
        return Ok(Principal::Everybody);
    }
    let unknown = || {
        format!(
            "there can be no principal '{name}': use \"*\", arn:aws:iam::{ACCOUNT}:user/NAME for the user of a key, or \
             arn:aws:iam::{ACCOUNT}:root for the root key"
        )
    };
    if name.is_empty() || name.contains(['*', '?']) {
        return Err(unknown());
    }
    let Some(rest) = name.strip_prefix("arn:") else { return Ok(Principal::Id(name.to_owned())) };
    let (account, who) = rest.strip_prefix("aws:iam::").and_then(|rest| rest.split_once(':')).ok_or_else(unknown)?;
    match who.strip_prefix("user/").map(|path| path.rsplit('/').next().unwrap_or(path)) {
        // Every user is an account of its own, which has the canonical id for a name.
        None if who == "root" => Ok(Principal::Id(account.to_owned())),
        Some("") => Err(unknown()),
        Some(user) if account.is_empty() || account == ACCOUNT => Ok(Principal::User(user.to_owned())),
        Some(_) => Ok(Principal::Nobody),
        None => Err(unknown()),
    }
}

fn conditions(value: &Value) -> Result<Vec<Condition>, Refusal> {
    let operators = value.as_object().ok_or("a Condition is not a JSON object")?;
    let mut found = Vec::new();
    for (operator, keys) in operators {
        for (key, values) in keys.as_object().ok_or_else(|| format!("the condition {operator} is not an object"))? {
            found.push(Condition::compile(operator, key, texts(Some(values), key)?)?);
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
        Value::Number(number) => Ok(number.to_string()),
        other => Err(format!("{what} is {other}, which is no text")),
    };
    match value {
        Some(Value::Array(values)) if !values.is_empty() => values.iter().map(one).collect(),
        Some(Value::Array(_)) | None => Err(format!("a statement has no {what}")),
        Some(value) => Ok(vec![one(value)?]),
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
