//! The manifest: who a package is, what it listens on and how much it may use.
//!
//! Limits are wishes below the host's own ceilings, by name: absent means the host's default, and a host cuts what is beyond its bounds.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{PackageError, Permission};

/// The manifest format this version writes and reads.
pub const MANIFEST_FORMAT: u32 = 1;

const NAME_LENGTH_MAX: usize = 64;
const DESCRIPTION_LENGTH_MAX: usize = 1024;
const LICENSE_LENGTH_MAX: usize = 128;
const VERSION_LENGTH_MAX: usize = 64;
const LISTENERS_MAX: usize = 16;
const LIMITS_MAX: usize = 64;
const SETTINGS_MAX: usize = 64;
const SETTING_LENGTH_MAX: usize = 4096;

fn format() -> u32 {
    MANIFEST_FORMAT
}

/// What a package says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`MANIFEST_FORMAT`]; may be left out of `recoil.toml`.
    #[serde(default = "format")]
    pub format: u32,
    /// Lower-case words joined by hyphens, at most 64 characters; also the default name of the installed app.
    pub name: String,
    /// Who publishes it, like a name: where it is pushed to unless that is said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Semantic version.
    pub version: String,
    /// One or two sentences for people, at most 1,024 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// SPDX expression, at most 128 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub license: String,
    /// Ports the package wants; `[[listener]]` in `recoil.toml`.
    #[serde(default, rename = "listener", skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Listener>,
    /// Which partitions a handler instance answers for.
    #[serde(default, skip_serializing_if = "Instances::is_default")]
    pub instances: Instances,
    /// What of the contract the package may call; the rest refuses.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub permissions: BTreeSet<Permission>,
    /// How much the package may use.
    #[serde(default)]
    pub limits: Limits,
    /// What an operator may change while the app runs; `[[setting]]` in `recoil.toml`.
    #[serde(default, rename = "setting", skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
}

/// Which partitions a handler instance answers for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instances {
    /// For one: what it keeps in memory between calls is of that partition, and goes when the partition's leader changes.
    #[default]
    PerPartition,
    /// For any, one call after the other. For handlers that keep nothing of a partition in memory between calls: a node needs as many
    /// as it evaluates calls at a time, whatever the number of partitions.
    Shared,
}

impl Instances {
    fn is_default(&self) -> bool {
        *self == Instances::default()
    }
}

/// A setting: its default also says of which type it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Like a package's name; unique in the manifest.
    pub name: String,
    /// In force until an operator changes it.
    pub default: SettingValue,
    /// What it is for, at most 1,024 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SettingValue {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number between -(2^53 - 1) and 2^53 - 1.
    Integer(i64),
    /// At most 4,096 bytes.
    Text(String),
}

impl SettingValue {
    /// The name of its type.
    pub fn kind(&self) -> &'static str {
        match self {
            SettingValue::Boolean(_) => "boolean",
            SettingValue::Integer(_) => "integer",
            SettingValue::Text(_) => "text",
        }
    }

    /// A value of this one's type, from what an operator typed.
    fn parse(&self, text: &str) -> Option<SettingValue> {
        let parsed = match self {
            SettingValue::Boolean(_) => SettingValue::Boolean(text.parse().ok()?),
            SettingValue::Integer(_) => SettingValue::Integer(text.parse().ok()?),
            SettingValue::Text(_) => SettingValue::Text(text.to_owned()),
        };
        parsed.is_bounded().then_some(parsed)
    }

    fn is_bounded(&self) -> bool {
        match self {
            SettingValue::Boolean(_) => true,
            SettingValue::Integer(number) => number.unsigned_abs() < 1 << 53,
            SettingValue::Text(text) => text.len() <= SETTING_LENGTH_MAX,
        }
    }
}

impl std::fmt::Display for SettingValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SettingValue::Boolean(value) => write!(f, "{value}"),
            SettingValue::Integer(value) => write!(f, "{value}"),
            SettingValue::Text(value) => f.write_str(value),
        }
    }
}

/// A port on which the host accepts connections for the package's listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Like a package's name; unique in the manifest.
    pub name: String,
    /// What is spoken below the package's own protocol.
    pub protocol: Protocol,
    /// TCP port before the node's port offset, 1 to 65,535; unique in the manifest.
    pub port: u16,
    /// How long an instance of `wasi:http/incoming-handler` lasts.
    #[serde(default, skip_serializing_if = "RequestInstances::is_default")]
    pub instances: RequestInstances,
}

/// How long an instance of `wasi:http/incoming-handler` lasts. Instances of `http-handler` are always kept, and a connection over TCP always has
/// an instance of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestInstances {
    /// For one request, as components of other tool chains may count on.
    #[default]
    PerRequest,
    /// For many, one after the other: what it holds in memory between requests is a cache only, of this node.
    Kept,
}

impl RequestInstances {
    fn is_default(&self) -> bool {
        *self == RequestInstances::default()
    }
}

/// What a listener is handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// A stream of bytes, to the component's `tcp-listener`.
    Tcp,
    /// HTTP requests, to the component's `http-handler`.
    Http,
}

/// Limits by their names, such as `call_ms`. Absent means the host's default; which there are, and their bounds, is the host's
/// to say: `recoilctl inspect` lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Limits(pub BTreeMap<String, u64>);

impl Manifest {
    /// Read a `recoil.toml` and check it.
    #[cfg(feature = "authoring")]
    pub fn from_toml(text: &str) -> Result<Self, PackageError> {
        check_size(text.len())?;
        let manifest: Manifest = toml::from_str(text)
            .map_err(|error| PackageError::Malformed { why: error.to_string().trim_end().to_owned() })?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// Read the JSON form and check it.
    pub fn from_json(text: &[u8]) -> Result<Self, PackageError> {
        check_size(text.len())?;
        let malformed =
            |error: serde_json::Error| PackageError::Malformed { why: format!("{error}; build the package again") };
        // The format first: what a later one contains would otherwise be reported as an unknown field.
        #[derive(Deserialize)]
        struct Peek {
            #[serde(default)]
            format: Option<u64>,
        }
        let peek: Peek = serde_json::from_slice(text).map_err(malformed)?;
        match peek.format {
            Some(found) if found != u64::from(MANIFEST_FORMAT) => {
                return Err(PackageError::UnknownFormat { found, known: MANIFEST_FORMAT });
            }
            _ => {}
        }
        let manifest: Manifest = serde_json::from_slice(text).map_err(malformed)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// The JSON form.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings, integers and lists only: there is nothing in a manifest that JSON cannot say.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Check every field against its bounds.
    pub fn validate(&self) -> Result<(), PackageError> {
        if self.format != MANIFEST_FORMAT {
            return Err(PackageError::UnknownFormat { found: self.format.into(), known: MANIFEST_FORMAT });
        }
        check_name("name", &self.name)?;
        self.namespace.as_deref().map(|namespace| check_name("namespace", namespace)).transpose()?;
        check(
            self.version.len() <= VERSION_LENGTH_MAX && semver::Version::parse(&self.version).is_ok(),
            "version",
            &self.version,
            || "use a semantic version such as 1.0.3 or 0.2.0-rc.1",
        )?;
        check(
            self.description.chars().count() <= DESCRIPTION_LENGTH_MAX,
            "description",
            &self.description,
            || "at most 1,024 characters",
        )?;
        check(
            self.license.len() <= LICENSE_LENGTH_MAX && self.license.is_ascii(),
            "license",
            &self.license,
            || "use an SPDX expression of at most 128 characters, such as Apache-2.0",
        )?;
        self.validate_listeners()?;
        self.validate_settings()?;
        self.limits.validate()
    }

    fn validate_settings(&self) -> Result<(), PackageError> {
        let count = self.settings.len();
        check(count <= SETTINGS_MAX, "setting", &format!("{count} entries"), || "at most 64 settings")?;
        for (at, setting) in self.settings.iter().enumerate() {
            let field = |name: &str| format!("setting[{at}].{name}");
            check_name(&field("name"), &setting.name)?;
            check(
                self.settings[..at].iter().all(|other| other.name != setting.name),
                &field("name"),
                &setting.name,
                || "each setting needs a name of its own",
            )?;
            check(
                setting.default.is_bounded(),
                &field("default"),
                &setting.default.to_string(),
                || "use a text of at most 4,096 bytes, or a whole number between -(2^53 - 1) and 2^53 - 1",
            )?;
            check(
                setting.description.chars().count() <= DESCRIPTION_LENGTH_MAX,
                &field("description"),
                "too long",
                || "at most 1,024 characters",
            )?;
        }
        Ok(())
    }

    /// A value for the setting `name`, from what an operator typed. The error says which settings there are, or which type it has.
    pub fn parse_setting(&self, name: &str, text: &str) -> Result<SettingValue, String> {
        let Some(setting) = self.settings.iter().find(|setting| setting.name == name) else {
            let all: Vec<String> =
                self.settings.iter().map(|setting| format!("{} ({})", setting.name, setting.default.kind())).collect();
            let all = if all.is_empty() { "it has none".to_owned() } else { format!("it has {}", all.join(", ")) };
            return Err(format!("{} has no setting named {name}: {all}", self.name));
        };
        setting.default.parse(text).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            let kind = setting.default.kind();
            let rule = match setting.default {
                SettingValue::Boolean(_) => "true or false",
                SettingValue::Integer(_) => "a whole number, such as 10",
                SettingValue::Text(_) => "at most 4,096 bytes",
            };
            format!("the setting {name} is of type {kind} and cannot be '{}': use {rule}", shown.escape_debug())
        })
    }

    /// The values in force: the defaults, and what was changed of them.
    pub fn settings_in_force(&self, changed: &BTreeMap<String, SettingValue>) -> BTreeMap<String, SettingValue> {
        let value = |setting: &Setting| changed.get(&setting.name).unwrap_or(&setting.default).clone();
        self.settings.iter().map(|setting| (setting.name.clone(), value(setting))).collect()
    }

    /// Permissions that the package asks for beyond `granted`.
    pub fn not_granted(&self, granted: &BTreeSet<Permission>) -> Vec<Permission> {
        self.permissions.difference(granted).copied().collect()
    }

    fn validate_listeners(&self) -> Result<(), PackageError> {
        let count = self.listeners.len();
        check(count <= LISTENERS_MAX, "listener", &format!("{count} entries"), || "at most 16 listeners")?;
        for (at, listener) in self.listeners.iter().enumerate() {
            let earlier = &self.listeners[..at];
            check_name(&format!("listener[{at}].name"), &listener.name)?;
            check(
                earlier.iter().all(|other| other.name != listener.name),
                &format!("listener[{at}].name"),
                &listener.name,
                || "each listener needs a name of its own",
            )?;
            check(
                listener.protocol == Protocol::Http || listener.instances.is_default(),
                &format!("listener[{at}].instances"),
                "kept",
                || "leave it out: a connection over TCP has an instance of its own",
            )?;
            check(listener.port != 0, &format!("listener[{at}].port"), "0", || "use a port from 1 to 65,535")?;
            check(
                earlier.iter().all(|other| other.port != listener.port),
                &format!("listener[{at}].port"),
                &listener.port.to_string(),
                || "each listener needs a port of its own",
            )?;
        }
        Ok(())
    }
}

impl Limits {
    fn validate(&self) -> Result<(), PackageError> {
        check(self.0.len() <= LIMITS_MAX, "limits", &format!("{} entries", self.0.len()), || "at most 64 limits")?;
        for (name, value) in &self.0 {
            let word = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            let good = !name.is_empty() && name.len() <= NAME_LENGTH_MAX && name.bytes().all(word);
            check(good, "limits", name, || "name limits as `recoilctl inspect` does, such as call_ms")?;
            let field = format!("limits.{name}");
            check(*value > 0 && *value < 1 << 53, &field, &value.to_string(), || "use a number from 1 to 2^53 - 1")?;
        }
        Ok(())
    }
}

fn check_size(size: usize) -> Result<(), PackageError> {
    let limit = crate::MANIFEST_BYTES_MAX;
    if size <= limit { Ok(()) } else { Err(PackageError::ManifestTooLarge { size, limit }) }
}

/// Names go into file names, host names and command lines, so they are what is safe in all of them.
fn check_name(field: &str, name: &str) -> Result<(), PackageError> {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let good = name.len() <= NAME_LENGTH_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.split('-').all(word);
    check(
        good,
        field,
        name,
        || "use lower-case letters and digits in words joined by single hyphens, a letter first, at most 64 characters",
    )
}

fn check(good: bool, field: &str, value: &str, rule: impl FnOnce() -> &'static str) -> Result<(), PackageError> {
    if good {
        return Ok(());
    }
    let shown: String = value.chars().take(80).collect();
    let value = if shown.is_empty() { "empty".to_owned() } else { format!("'{}'", shown.escape_debug()) };
    Err(PackageError::Invalid { field: field.to_owned(), value, rule: rule() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
        name = "redis-server"
        version = "0.1.0"
        description = "Speaks the Redis protocol."
        license = "Apache-2.0"
        permissions = ["storage", "router"]
        [[listener]]
        name = "redis"
        protocol = "tcp"
        port = 6379
        [limits]
        memory_bytes = 67108864
        call_ms = 1000
        [[setting]]
        name = "greeting"
        default = "hello"
        [[setting]]
        name = "limit"
        default = 10
        [[setting]]
        name = "loud"
        default = false
    "#;

    #[test]
    fn a_manifest_survives_both_forms() {
        let manifest = Manifest::from_toml(FULL).unwrap();
        assert_eq!(manifest.format, MANIFEST_FORMAT);
        assert_eq!(
            manifest.listeners,
            [Listener {
                name: "redis".into(),
                protocol: Protocol::Tcp,
                port: 6379,
                instances: RequestInstances::PerRequest
            }]
        );
        assert_eq!(manifest.limits.0.get("call_ms"), Some(&1000));
        assert_eq!(manifest.limits.0.get("connections"), None);
        assert_eq!(manifest.permissions, BTreeSet::from([Permission::Router, Permission::Storage]));
        assert_eq!(Manifest::from_json(&manifest.to_json()).unwrap(), manifest);
        let least = Manifest::from_toml("name = 'a'\nversion = '1.0.0'").unwrap();
        assert_eq!(Manifest::from_json(&least.to_json()).unwrap(), least);
    }

    #[test]
    fn a_setting_takes_values_of_its_type_only() {
        let manifest = Manifest::from_toml(FULL).unwrap();
        assert_eq!(manifest.parse_setting("greeting", "true"), Ok(SettingValue::Text("true".into())));
        assert_eq!(manifest.parse_setting("limit", "-7"), Ok(SettingValue::Integer(-7)));
        assert_eq!(manifest.parse_setting("loud", "true"), Ok(SettingValue::Boolean(true)));
        for (name, text, expected) in [
            ("limit", "many", "integer"),
            ("limit", "9007199254740992", "whole number"),
            ("loud", "yes", "true or false"),
            ("colour", "red", "greeting (text), limit (integer), loud (boolean)"),
        ] {
            let error = manifest.parse_setting(name, text).expect_err(text);
            assert!(error.contains(expected), "{error}");
        }
        assert!(manifest.parse_setting("greeting", &"x".repeat(4097)).is_err());
        let changed = BTreeMap::from([("limit".to_owned(), SettingValue::Integer(3))]);
        let in_force: Vec<String> =
            manifest.settings_in_force(&changed).iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(in_force, ["greeting=hello", "limit=3", "loud=false"]);
    }

    #[test]
    fn wrong_values_are_refused_and_the_message_names_field_and_value() {
        let edits: &[(&str, &str, &str)] = &[
            (r#"name = "redis-server""#, r#"name = "Redis""#, "`name` is 'Redis'"),
            (r#"name = "redis-server""#, r#"name = "redis--server""#, "`name`"),
            (r#"name = "redis-server""#, r#"name = "-redis""#, "`name`"),
            (r#"name = "redis-server""#, r#"name = "redis-""#, "`name`"),
            (r#"name = "redis-server""#, r#"name = "../etc""#, "`name`"),
            (r#"name = "redis-server""#, r#"name = "4redis""#, "`name`"),
            (r#"name = "redis-server""#, r#"name = """#, "`name` is empty"),
            (r#"version = "0.1.0""#, r#"version = "0.1""#, "`version` is '0.1'"),
            (r#"license = "Apache-2.0""#, r#"license = "Ä""#, "`license`"),
            (r#"name = "redis""#, r#"name = "a b""#, "`listener[0].name`"),
            (r#"protocol = "tcp""#, r#"protocol = "udp""#, "udp"),
            (r#""router"]"#, r#""network"]"#, "unknown variant `network`, expected one of `storage`, `router`"),
            ("port = 6379", "port = 6379\ninstances = \"kept\"", "`listener[0].instances` is 'kept'"),
            ("port = 6379", "port = 6379\ninstances = \"shared\"", "per-request"),
            ("port = 6379", "port = 0", "`listener[0].port` is '0'"),
            ("port = 6379", "port = 65536", "port"),
            ("call_ms = 1000", "call_ms = 0", "`limits.call_ms` is '0'"),
            ("call_ms = 1000", "call-ms = 1", "`limits` is 'call-ms'"),
            (r#"name = "limit""#, r#"name = "greeting""#, "`setting[1].name` is 'greeting'"),
            ("default = 10", "default = 1.5", "default"),
            ("default = 10", "default = 9007199254740992", "`setting[1].default`"),
            ("memory_bytes = 67108864", "memory_bytes = 0", "`limits.memory_bytes`"),
            ("memory_bytes = 67108864", "memory_bytes = -1", "memory_bytes"),
        ];
        for (from, to, expected) in edits {
            assert!(FULL.contains(from), "{from}");
            let error = Manifest::from_toml(&FULL.replacen(from, to, 1)).expect_err(to).to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    #[test]
    fn lengths_and_counts_are_bounded_and_listeners_unique() {
        let manifest = Manifest::from_toml(FULL).unwrap();
        let refused = |change: &dyn Fn(&mut Manifest)| {
            let mut changed = manifest.clone();
            change(&mut changed);
            changed.validate().unwrap_err().to_string()
        };
        assert!(refused(&|m| m.name = "a".repeat(65)).contains("`name`"));
        assert!(refused(&|m| m.description = "é".repeat(1025)).contains("`description`"));
        assert!(refused(&|m| m.listeners.push(m.listeners[0].clone())).contains("name of its own"));
        assert!(
            refused(&|m| m.listeners.push(Listener { name: "other".into(), ..m.listeners[0].clone() }))
                .contains("port of its own")
        );
        assert!(refused(&|m| m.listeners = vec![m.listeners[0].clone(); 17]).contains("17 entries"));
        assert!(refused(&|m| m.format = 2).contains("format 2"));
        let mut longest = manifest.clone();
        longest.name = "a".repeat(64);
        longest.validate().unwrap();
    }

    #[test]
    fn a_later_format_is_named_before_its_unknown_fields() {
        let later = br#"{"format": 7, "name": "a", "version": "1.0.0", "grants": ["everything"]}"#;
        assert_eq!(Manifest::from_json(later), Err(PackageError::UnknownFormat { found: 7, known: 1 }));
        let unknown = br#"{"name": "a", "version": "1.0.0", "grants": ["everything"]}"#;
        assert!(Manifest::from_json(unknown).unwrap_err().to_string().contains("grants"));
    }
}
