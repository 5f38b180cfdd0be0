//! `recoilctl APP ARGUMENTS…`: the commands that an installed app has for its operators.

use clap::CommandFactory as _;
use recoil_gateway::api::{AdminErrorCode, AppCommand, CommandReply, CommandRequest};

use super::uninstall::path_segment;
use super::{Arguments, Format, Output, VerbError};
use crate::client::{Client, ClientError};

/// Runs what was typed: the app's name, and what follows it.
pub(super) async fn run(words: &[String], client: &Client, output: &mut Output) -> Result<(), VerbError> {
    let Some((name, arguments)) = words.split_first() else {
        return Err(VerbError::Usage("no verb is named: see recoilctl --help".into()));
    };
    let is_name = path_segment(name).is_ok();
    if !is_name || name.starts_with('-') {
        return Err(VerbError::Usage(format!("recoilctl has no verb '{}': see recoilctl --help", name.escape_debug())));
    }
    let wants_help = |word: &String| word == "--help" || word == "-h";
    let (is_help, arguments): (bool, &[String]) = match arguments {
        [] => (true, arguments),
        [first, rest @ ..] if first == "help" => (true, rest),
        [first @ .., last] if wants_help(last) => (true, first),
        _ => (false, arguments),
    };
    if is_help {
        let all = commands(client, name).await.map_err(|error| not_an_app(error, name))?;
        return help(name, &all, arguments, output);
    }
    let request = CommandRequest { arguments: arguments.to_vec() };
    let body = serde_json::to_vec(&request).map_err(|error| VerbError::Local(error.to_string()))?;
    let answer = client.post::<CommandReply>(&format!("/v1/apps/{name}/commands"), body).await;
    let reply = answer.map_err(|error| not_an_app(error, name))?;
    match output.format() {
        Format::Json | Format::Yaml => output.value(&reply)?,
        Format::Table if reply.output.is_empty() => {}
        Format::Table => output.line(harmless(&reply.output).trim_end())?,
    }
    Ok(())
}

/// The commands that an app has.
pub(super) async fn commands(client: &Client, name: &str) -> Result<Vec<AppCommand>, ClientError> {
    client.get(&format!("/v1/apps/{name}/commands")).await
}

/// The commands of an app as rows: what to type, and what it does.
pub(super) fn rows(name: &str, commands: &[&AppCommand]) -> Vec<[String; 2]> {
    let typed = |command: &AppCommand| {
        format!("recoilctl {name} {} {}", command.words.join(" "), command.usage).trim_end().to_owned()
    };
    commands.iter().map(|command| [harmless_line(&typed(command)), harmless_line(&command.help)]).collect()
}

fn help(name: &str, all: &[AppCommand], wanted: &[String], output: &mut Output) -> Result<(), VerbError> {
    let shown: Vec<&AppCommand> = all.iter().filter(|command| is_about(command, wanted)).collect();
    if let Format::Json | Format::Yaml = output.format() {
        output.value(&shown)?;
        return Ok(());
    }
    if all.is_empty() {
        output.line(&format!("{name} has no commands; recoilctl inspect {name} shows what it is"))?;
    } else if shown.is_empty() {
        let typed = wanted.join(" ");
        return Err(VerbError::Local(format!(
            "{name} has no command '{}': see recoilctl {name} --help",
            typed.escape_debug()
        )));
    } else {
        output.table(["COMMAND", "WHAT IT DOES"], &rows(name, &shown))?;
    }
    Ok(())
}

/// True if the words of a command begin with those that were typed, or are their beginning.
fn is_about(command: &AppCommand, typed: &[String]) -> bool {
    command.words.iter().zip(typed).all(|(word, typed)| word == typed)
}

/// The error for a first word that is not the name of an app: it may be a misspelled verb.
///
/// Without a node nobody can tell whether an app has that name. A word that resembles a verb is then taken for a
/// misspelling, any other for an app of a cluster that does not answer.
fn not_an_app(error: ClientError, name: &str) -> VerbError {
    let similar = similar_verb(name);
    let hint = similar.as_ref().map(|verb| format!(" (did you mean '{verb}'?)")).unwrap_or_default();
    match error {
        ClientError::Refused(refused)
            if refused.code == AdminErrorCode::NotFound && refused.message.contains("app named") =>
        {
            VerbError::Usage(format!(
                "'{name}' is neither a verb of recoilctl nor an app of this cluster{hint}: see recoilctl --help for its verbs, \
                 and recoilctl list for the apps whose commands it runs"
            ))
        }
        ClientError::Unreachable { .. } if similar.is_some() => {
            VerbError::Usage(format!("'{name}' is not a verb of recoilctl{hint}: see recoilctl --help for its verbs"))
        }
        ClientError::Unreachable { server, why } => {
            let why = format!("{why} ('{name}' is not a verb of recoilctl, so it is taken for the name of an app)");
            ClientError::Unreachable { server, why }.into()
        }
        other => other.into(),
    }
}

/// The verb of recoilctl that `word` resembles most, if it resembles any (Jaro-Winkler, with clap's own threshold).
fn similar_verb(word: &str) -> Option<String> {
    let command = Arguments::command();
    let resemblance = |verb: &str| strsim::jaro_winkler(word, verb);
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(clap::Command::get_name);
    let best = verbs.max_by(|a, b| resemblance(a).total_cmp(&resemblance(b)))?;
    (resemblance(best) > 0.8).then(|| best.to_owned())
}

/// Text of a package without what a terminal would obey.
fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => harmless.push(c),
            c if c.is_control() => harmless.extend(c.escape_unicode()),
            c => harmless.push(c),
        }
    }
    harmless
}

fn harmless_line(text: &str) -> String {
    harmless(text).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &str) -> AppCommand {
        let words = words.split(' ').map(str::to_owned).collect();
        AppCommand { words, usage: "NAME".into(), help: "Does\nit.".into() }
    }

    fn typed(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    /// Fails if help for a group of commands or for one shows others, or hides its own.
    #[test]
    fn help_is_about_what_was_typed() {
        let create = command("key create");
        for (words, is) in [("", true), ("key", true), ("key create", true), ("key create alice", true)] {
            assert_eq!(is_about(&create, &typed(words)), is, "{words}");
        }
        assert!(!is_about(&create, &typed("bucket")) && !is_about(&create, &typed("key list")));
    }

    /// Fails if a misspelled verb is not recognized, or the name of an app is taken for one.
    #[test]
    fn a_misspelled_verb_is_recognized() {
        for (typed, verb) in
            [("instal", Some("install")), ("stats", Some("status")), ("s3", None), ("redis-server", None)]
        {
            assert_eq!(similar_verb(typed).as_deref(), verb, "{typed}");
        }
    }

    /// Fails if a package can write to a terminal what it obeys, or break the table of its commands.
    #[test]
    fn a_package_does_not_command_the_terminal() {
        assert_eq!(harmless("a\tb\nc\u{1b}[2J"), "a\tb\nc\\u{1b}[2J");
        let create = command("key create");
        assert_eq!(rows("s3", &[&create]), [["recoilctl s3 key create NAME".to_owned(), "Does it.".to_owned()]]);
    }
}
