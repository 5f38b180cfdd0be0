//! What is asked of every language.

mod clocks;
mod collector;
mod commands;
mod connections;
mod failures;
mod http;
mod messages;
mod operators;
mod routing;
mod timers;

use std::path::Path;
use std::rc::Rc;

pub use collector::CALLS;

use crate::app::App;
use crate::client::Client;
use crate::script::{Script, Way};

/// What a case finds: an error says what was otherwise.
type Outcome = Result<(), String>;

/// A case written as a function.
type Written = (&'static str, fn(&App<'_>) -> Outcome);

/// A case.
pub struct Case {
    /// Its name, in the table and as a filter.
    pub name: String,
    body: Body,
}

enum Body {
    Script(Rc<Script>, Way),
    Written(fn(&App<'_>) -> Outcome),
}

impl Case {
    /// Asks an app, which holds no keys at first.
    pub fn run(&self, app: &App<'_>) -> Outcome {
        app.clear()?;
        match &self.body {
            Body::Written(run) => run(app),
            Body::Script(script, way) => {
                let mut client: Box<dyn Client> = match way {
                    Way::Tcp => Box::new(app.tcp(0)?),
                    Way::Http => Box::new(app.http(0)?),
                    Way::Handler => Box::new(app.handler(0)?),
                };
                script.run(&mut *client)
            }
        }
    }
}

/// All cases: the scripts by name, each by all its ways, then the functions.
pub fn cases() -> Result<Vec<Case>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let failed = |path: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let entries = std::fs::read_dir(&folder).map_err(|error| failed(&folder, &error))?;
    let mut files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    files.as_mut().map_err(|error| failed(&folder, error))?.sort();
    let mut cases = Vec::new();
    for file in files.into_iter().flatten().filter(|file| file.extension().is_some_and(|kind| kind == "case")) {
        let text = std::fs::read_to_string(&file).map_err(|error| failed(&file, &error))?;
        let script = Rc::new(Script::parse(&text).map_err(|why| failed(&file, &why))?);
        let name = file.file_stem().unwrap_or_default().to_string_lossy().replace('-', " ");
        for way in script.over.clone() {
            let name = format!("{name} ({})", way.name());
            cases.push(Case { name, body: Body::Script(script.clone(), way) });
        }
    }
    let written = [
        connections::CASES,
        http::CASES,
        routing::CASES,
        messages::CASES,
        timers::CASES,
        clocks::CASES,
        operators::CASES,
        commands::CASES,
        failures::CASES,
        collector::CASES,
    ];
    cases.extend(
        written.concat().into_iter().map(|(name, run)| Case { name: name.to_owned(), body: Body::Written(run) }),
    );
    Ok(cases)
}
