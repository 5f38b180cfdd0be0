//! Where keys are: the selected database, and the rule by which keys find their partition.
//!
//! The rule is the app's, a setting, and what the partitions have written down of it (see [`crate::keyspace::databases`]). With
//! `routing = key`, which is the default, a session takes it for granted and asks only when a partition rejects a call, or before its first
//! transaction, walk or waiting command; with `routing = database` it asks before its first command. If the partitions
//! have another rule than the setting and no keys, the session gives them that of the setting; if they have keys, theirs stays.
//!
//! Invariant: no call about keys is made by another rule than its partition has and evaluated all the same, since partitions
//! reject that. So a change of the setting at any moment costs errors at most.

use recoil_sdk::{Address, Mode, RoutedCall};

use super::{Session, call_error};
use crate::command::{self, Command, Run};
use crate::keyspace::databases::{ROUTING_CHANGED, home};
use crate::keyspace::hash_tag;
use crate::request::{self, Op, Routing, Scope, Style, push_number};
use crate::resp::{Arguments, push_error};

/// The rule that the operator wants.
pub(super) fn wanted_routing() -> Result<Routing, String> {
    match recoil_sdk::settings::text("routing").as_deref() {
        None | Some("key") => Ok(Routing::Key),
        Some("database") => Ok(Routing::Database),
        Some(other) => {
            Err(format!("ERR the setting routing is '{other}', and must be key or database: see recoilctl set"))
        }
    }
}

/// Commands of the pipeline and scripts: if one is rejected, the session asks about the rule and makes the call again.
fn asks_when_rejected(command: &Command) -> bool {
    use Run::{ArrayOverKeys, Partition, Script, SumOverKeys, Together};
    matches!(command.run, Partition(_) | Together(_) | SumOverKeys(_) | ArrayOverKeys(_) | Script(_))
}

fn needs_partitions(command: &Command) -> bool {
    match command.run {
        Run::Session(_) | Run::Subscription(_) => false,
        Run::Transaction(which) => matches!(which, command::Transaction::Exec | command::Transaction::Watch),
        _ => true,
    }
}

/// What a partition says of its keys.
#[derive(Debug, Clone, Copy)]
struct State {
    routing: Routing,
    has_keys: bool,
}

impl Session<'_> {
    /// Whose keys a request is about that is sent now.
    pub(super) fn scope(&self) -> Scope {
        self.scope_of(self.database)
    }

    /// The same for another database.
    pub(super) fn scope_of(&self, database: u8) -> Scope {
        Scope { database, routing: self.routing }
    }

    pub(super) fn style(&self) -> Style {
        Style { resp3: self.resp3, scope: self.scope() }
    }

    /// Where a key of the selected database is.
    pub(super) fn address_of(&self, key: &[u8]) -> Address {
        match self.routing {
            Routing::Key => Address::Key(hash_tag(key).to_vec()),
            Routing::Database => Address::Partition(self.home(self.database)),
        }
    }

    /// The partition of a key of the selected database.
    pub(super) fn place(&self, key: &[u8]) -> u32 {
        self.place_in(self.database, key)
    }

    /// The partition of a key of a database.
    pub(super) fn place_in(&self, database: u8, key: &[u8]) -> u32 {
        match self.routing {
            Routing::Key => self.router.locate(hash_tag(key)).id,
            Routing::Database => self.home(database),
        }
    }

    fn home(&self, database: u8) -> u32 {
        home(database, self.partition_count())
    }

    /// The partitions that may have keys of the selected database.
    pub(super) fn partitions_of_database(&self) -> std::ops::Range<u32> {
        match self.routing {
            Routing::Key => 0..self.partition_count(),
            Routing::Database => self.home(self.database)..self.home(self.database) + 1,
        }
    }

    /// The one partition of all these keys; none if they have several owners. A command whose keys are not to be found goes to
    /// the partition of its first argument, which refuses it.
    pub(super) fn common_address(&self, arguments: Arguments<'_>, places: &[usize]) -> Option<Address> {
        if self.routing == Routing::Database {
            return Some(self.address_of(b""));
        }
        let mut tags = places.iter().map(|place| hash_tag(arguments.at(*place)));
        let first = tags.next().unwrap_or_else(|| hash_tag(arguments.at(1)));
        let mut owner = None;
        let together = tags.all(|tag| {
            tag == first || *owner.get_or_insert_with(|| self.router.locate(first).id) == self.router.locate(tag).id
        });
        together.then(|| Address::Key(first.to_vec()))
    }

    /// The number of the partition at an address.
    pub(super) fn partition_at(&self, address: &Address) -> u32 {
        match address {
            Address::Key(key) => self.router.locate(key).id,
            Address::Partition(partition) => *partition,
        }
    }

    /// Know the rule before a command that depends on it.
    pub(super) fn check_routing(&mut self, command: &Command) -> Result<(), String> {
        if self.routing_is_known || !needs_partitions(command) {
            return Ok(());
        }
        let wanted = wanted_routing()?;
        if wanted == Routing::Key && asks_when_rejected(command) {
            return Ok(());
        }
        match self.resolve_routing(wanted) {
            // The default needs no permission: partitions reject what they do not agree with.
            Err(_) if wanted == Routing::Key => Ok(()),
            result => result,
        }
    }

    /// An error reply. If it says that the rule has changed, the next command asks for it.
    pub(super) fn answer_error(&mut self, text: &str) {
        self.routing_is_known &= text != ROUTING_CHANGED;
        push_error(&mut self.out, text);
    }

    /// Ask the partitions for the rule, and give them that of the setting if they have no keys.
    pub(super) fn resolve_routing(&mut self, wanted: Routing) -> Result<(), String> {
        let first = self.states(0..1)?;
        if first.iter().all(|state| state.routing == wanted) {
            return self.know(wanted);
        }
        let states = self.states(0..self.partition_count())?;
        let mut with_keys = states.iter().filter(|state| state.has_keys).map(|state| state.routing);
        let routing = with_keys.next().unwrap_or(wanted);
        if with_keys.any(|other| other != routing) {
            return Err(
                "ERR partitions have keys by both rules of the setting routing: remove those of one with FLUSHALL"
                    .into(),
            );
        }
        if routing != wanted {
            let (has, wants) = (routing.name(), wanted.name());
            recoil_sdk::log::warn(&format!("routing stays {has}, not {wants}, until there are no keys (FLUSHALL)"));
        }
        let changed = (0u32..).zip(&states).filter(|(_, state)| state.routing != routing).map(|(id, _)| {
            let mut request = request::begin(Op::SetRouting, Style::INTERNAL, false, 9);
            push_number(&mut request, routing as u64);
            RoutedCall::to_partition(id, request, Mode::Write)
        });
        let calls: Vec<_> = changed.collect();
        for answer in self.router.call_many(&calls) {
            if answer.map_err(|error| call_error(&error))?.starts_with(b"-") {
                return Err(ROUTING_CHANGED.to_owned());
            }
        }
        self.know(routing)
    }

    fn know(&mut self, routing: Routing) -> Result<(), String> {
        (self.routing, self.routing_is_known) = (routing, true);
        Ok(())
    }

    fn states(&self, partitions: std::ops::Range<u32>) -> Result<Vec<State>, String> {
        let request = request::begin(Op::Routing, Style::INTERNAL, false, 0);
        let calls: Vec<_> = partitions.map(|id| RoutedCall::to_partition(id, request.clone(), Mode::Read)).collect();
        let answers = self.router.call_many(&calls).into_iter().map(|answer| {
            let answer = answer.map_err(|error| call_error(&error))?;
            let [routing, has_keys] = answer[..] else { return Err(super::cluster::damaged()) };
            let routing = Routing::from_number(routing).ok_or_else(super::cluster::damaged)?;
            Ok(State { routing, has_keys: has_keys != 0 })
        });
        answers.collect()
    }
}
