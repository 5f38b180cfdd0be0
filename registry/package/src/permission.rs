//! Permissions: what of the contract a package may call.
//!
//! A manifest asks for them; the operator sees them before installing and grants all of them or does not install. A component's imports
//! say nothing about them, since some tool chains import the whole contract, so what was not asked for is there but refuses.

use serde::{Deserialize, Serialize};

/// Something that a package asks for. Clocks, randomness, the log and its own settings it has without asking, and ports by its listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Keep data.
    Storage,
    /// Call its own handlers from its listeners.
    Router,
    /// Pass messages between its handlers and its listeners.
    Publish,
    /// Run when no request does.
    Timers,
    /// Look at the Raft group and wait for it.
    Consensus,
}

impl Permission {
    /// All there are.
    pub const ALL: [Permission; 5] =
        [Permission::Storage, Permission::Router, Permission::Publish, Permission::Timers, Permission::Consensus];

    /// As manifests write it.
    pub fn name(self) -> &'static str {
        match self {
            Permission::Storage => "storage",
            Permission::Router => "router",
            Permission::Publish => "publish",
            Permission::Timers => "timers",
            Permission::Consensus => "consensus",
        }
    }

    /// What it lets a package do, for the operator who is asked.
    pub fn what(self) -> &'static str {
        match self {
            Permission::Storage => "keep data of its own in the cluster",
            Permission::Router => "call its own partitions, on any node",
            Permission::Publish => "pass messages to its own connections, on any node",
            Permission::Timers => "run at times it sets, when no client asks",
            Permission::Consensus => "see the state of its Raft groups, and have them confirm it",
        }
    }

    /// The permission that a function of the contract needs, if it needs one: `storage` and `put`, or `router` and
    /// `[method]subscription.next`, as components name them.
    pub fn of(interface: &str, function: &str) -> Option<Permission> {
        match (interface, function) {
            ("storage", _) => Some(Permission::Storage),
            ("router", "subscribe" | "[method]subscription.next") | ("partition", "publish") => {
                Some(Permission::Publish)
            }
            ("router", _) => Some(Permission::Router),
            ("partition", "set-timer" | "cancel-timer") => Some(Permission::Timers),
            ("consensus", _) => Some(Permission::Consensus),
            _ => None,
        }
    }
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Permission {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Permission::ALL.into_iter().find(|permission| permission.name() == text).ok_or_else(|| {
            let names = Permission::ALL.map(Permission::name).join(", ");
            format!("there is no permission '{}'; there are {names}", text.escape_debug())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_has_one_name_everywhere() {
        for permission in Permission::ALL {
            assert_eq!(permission.name().parse(), Ok(permission));
            assert_eq!(serde_json::to_string(&permission).unwrap(), format!("\"{permission}\""));
        }
        let error = "network".parse::<Permission>().unwrap_err();
        assert!(error.contains("'network'") && error.contains("storage, router"), "{error}");
    }
}
