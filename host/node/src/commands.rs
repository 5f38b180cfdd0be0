//! The commands that apps have for their operators, run on this node.
//!
//! A command takes a place among the node's instances that may wait, as a connection does. It ends with the operator's connection.

use std::sync::Arc;

use recoil_engine::admin::{Command, CommandError};
use recoil_engine::{AppCode, Environment, Router};
use recoil_gateway::api::{AdminError, AppCommand};
use tokio::sync::OwnedSemaphorePermit;

use crate::admin::{not_installed, ordered};
use crate::node::Parts;

/// What a command needs to run.
struct Place {
    code: Arc<AppCode>,
    environment: Environment,
    router: Arc<dyn Router>,
    _room: OwnedSemaphorePermit,
}

impl Parts {
    pub(crate) async fn commands_of(&self, name: &str) -> Result<Vec<AppCommand>, AdminError> {
        let Place { code, environment, router, _room } = self.place_of(name)?;
        if !code.roles().admin {
            return Ok(Vec::new());
        }
        let commands = code.commands(environment, router).await.map_err(|error| failed(name, error))?;
        Ok(commands.into_iter().map(|Command { words, usage, help }| AppCommand { words, usage, help }).collect())
    }

    pub(crate) async fn run_command_of(&self, name: &str, arguments: Vec<String>) -> Result<String, AdminError> {
        if arguments.is_empty() {
            let hint = format!("recoilctl {name} --help lists them");
            return Err(AdminError::invalid("no command is named", hint));
        }
        let Place { code, environment, router, _room } = self.place_of(name)?;
        code.run_command(arguments, environment, router).await.map_err(|error| failed(name, error))
    }

    fn place_of(&self, name: &str) -> Result<Place, AdminError> {
        let state = self.states.borrow().clone();
        let found = state.apps.get(name).ok_or_else(|| not_installed(name))?;
        let (app, keyspace) = (found.id, found.keyspace);
        if !state.may_hold(keyspace, self.node) {
            let there = ordered(&state).into_iter().find(|(node, _)| state.may_hold(keyspace, **node));
            let hint = there.map_or("recoilctl status shows where nodes are".to_owned(), |(_, member)| {
                format!("ask one where it does: recoilctl --server {}", member.address)
            });
            return Err(AdminError::conflict(
                format!("{name} does not run on node {}, where the rule of its keyspace keeps it from", self.node),
                hint,
            ));
        }
        let (code, environment) = self.apps.instance(app).ok_or_else(|| {
            AdminError::unavailable(
                format!("{name} is not ready on this node"),
                format!("recoilctl inspect {name} tells how each node stands"),
            )
        })?;
        let room = self.shared.connections().clone().try_acquire_owned();
        let _room = room.map_err(|_| {
            AdminError::unavailable("this node's programs serve as many as they can", "ask another node, or retry")
        })?;
        Ok(Place { code, environment, router: self.router.of_app(app, keyspace), _room })
    }
}

fn failed(name: &str, error: CommandError) -> AdminError {
    let help = format!("recoilctl {name} --help lists the commands of {name}");
    match error {
        CommandError::Absent => AdminError::invalid(format!("{name} has no commands: {error}"), ""),
        CommandError::Rejected(why) => AdminError::invalid(why, help),
        CommandError::NoRoom => AdminError::unavailable(error.to_string(), ""),
        CommandError::Failed(_) | CommandError::TimedOut(_) => {
            AdminError::internal(error.to_string(), format!("recoilctl logs {name} may say more"))
        }
    }
}
