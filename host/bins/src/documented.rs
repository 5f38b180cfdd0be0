//! Command lines in the documentation: each names a verb and options that the programs have.
//!
//! Read are all Markdown files of the repository: code blocks, fenced or indented, and code spans. A line counts if its first word
//! is the name of a program, after a prompt, a path and variables. What an app's own commands take, only the app can say, so the
//! words behind an app's name are let through.

use std::path::{Path, PathBuf};

use clap::{Arg, Command, CommandFactory as _};

/// The word that stands for the name of any app.
const ANY_APP: &str = "APP";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn programs() -> Vec<Command> {
    let all =
        [crate::ctl::Arguments::command(), crate::node::Arguments::command(), crate::simulator::Arguments::command()];
    let build = |mut command: Command| {
        command.build();
        command
    };
    all.into_iter().map(build).collect()
}

/// The packages of `guests/`, which are installed under these names.
fn apps() -> Vec<String> {
    let guests = std::fs::read_dir(root().join("guests")).unwrap();
    let folders = guests.map(Result::unwrap).filter(|entry| entry.path().is_dir());
    let names = folders.map(|folder| folder.file_name().into_string().unwrap());
    names.chain([ANY_APP.to_owned()]).collect()
}

/// All Markdown files below a folder, but for what tools and builds fill.
fn markdown_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap_or_default());
        let is_skipped = name == "target" || name == "node_modules" || (name.starts_with('.') && name != ".github");
        if entry.file_type().unwrap().is_dir() {
            if !is_skipped {
                markdown_files(&path, found);
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The pieces of code in a Markdown text, each with its line: lines of code blocks, and code spans.
fn code_in(text: &str) -> Vec<(usize, String)> {
    let (mut code, mut is_fenced, mut continued) = (Vec::<(usize, String)>::new(), false, false);
    for (number, line) in (1..).zip(text.lines()) {
        let trimmed = line.trim();
        if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
            is_fenced = !is_fenced;
            continued = false;
        } else if is_fenced || line.starts_with("    ") || line.starts_with('\t') {
            let (piece, goes_on) = trimmed.strip_suffix('\\').map_or((trimmed, false), |piece| (piece, true));
            match code.last_mut().filter(|_| continued) {
                Some((_, before)) => before.push_str(piece),
                None => code.push((number, piece.to_owned())),
            }
            continued = goes_on;
        } else {
            code.extend(line.split('`').skip(1).step_by(2).map(|span| (number, span.to_owned())));
            continued = false;
        }
    }
    code
}

/// The words of each command of one of our programs in a piece of code, the program's name first.
fn commands_in(code: &str, programs: &[Command]) -> Vec<Vec<String>> {
    let without_prompt = code.strip_prefix("$ ").unwrap_or(code);
    let without_comment = without_prompt.split(" #").next().unwrap_or_default();
    let commands = without_comment.split("&&").flat_map(|part| part.split([';', '|']));
    let words_of = |command: &str| -> Option<Vec<String>> {
        let is_variable = |word: &&str| word.split_once('=').is_some_and(|(name, _)| name.chars().all(is_of_variable));
        let mut words = command.split_whitespace().skip_while(is_variable);
        let name = Path::new(words.next()?).file_name()?.to_str()?.to_owned();
        programs.iter().find(|program| program.get_name() == name)?;
        let words: Vec<String> = std::iter::once(name).chain(words.map(str::to_owned)).collect();
        // A line of a configuration.
        (words.get(1).is_none_or(|word| word != "=")).then_some(words)
    };
    commands.filter_map(words_of).collect()
}

fn is_of_variable(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
}

/// What is wrong with a command line, if anything is.
fn refused(words: &[String], programs: &[Command], apps: &[String]) -> Option<String> {
    let mut command = programs.iter().find(|program| program.get_name() == words[0])?;
    let mut words = words[1..].iter().peekable();
    let is_value = |word: &&String| !word.starts_with('-');
    while let Some(word) = words.next() {
        let has_name = |arg: &&Arg| match word.strip_prefix("--") {
            Some(long) => arg.get_long() == long.split('=').next(),
            None => arg.get_short().is_some_and(|short| word[1..].starts_with(short)),
        };
        if word.starts_with('-') {
            let Some(option) = command.get_arguments().find(has_name) else {
                return Some(format!("'{}' has no option {word}", command.get_name()));
            };
            if option.get_action().takes_values() && !word.contains('=') {
                words.next_if(is_value);
            }
        } else if let Some(verb) = command.find_subcommand(word) {
            command = verb;
        } else if command.is_allow_external_subcommands_set() {
            let is_app = apps.contains(word);
            return (!is_app).then(|| format!("'{word}' is neither a verb of {} nor an app", command.get_name()));
        } else if command.has_subcommands() {
            return Some(format!("'{}' has no verb '{word}'", command.get_name()));
        }
    }
    None
}

/// Fails if the documentation has a reader type a verb or an option that the programs do not have.
#[test]
fn documented_command_lines_are_understood() {
    let (programs, apps, mut files) = (programs(), apps(), Vec::new());
    markdown_files(&root(), &mut files);
    let (mut count, mut wrong) = (0, Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (line, code) in code_in(&text) {
            for words in commands_in(&code, &programs) {
                count += 1;
                let why = refused(&words, &programs, &apps);
                wrong.extend(why.map(|why| format!("{}:{line}: {}: {why}", file.display(), words.join(" "))));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 100, "only {count} command lines were found: is the documentation where it was?");
}

/// Fails if a command line that does not exist passes, or one that does is refused.
#[test]
fn a_command_line_that_does_not_exist_is_found_wherever_it_stands() {
    let (programs, apps) = (programs(), apps());
    let problems = |text: &str| -> Vec<String> {
        let code = code_in(text).into_iter();
        let commands =
            code.flat_map(|(line, code)| commands_in(&code, &programs).into_iter().map(move |it| (line, it)));
        commands.filter_map(|(line, it)| Some(format!("{line}: {}", refused(&it, &programs, &apps)?))).collect()
    };
    for good in [
        "    $ recoilctl install a --name b --yes   # --no-such-option\n",
        "    recoilctl --server 127.0.0.1:7401 -o json status --watch 5\n",
        "    recoilctl partition move 0-3 --to 1,2,4\n",
        "```sh\nRECOIL_SERVER=a /usr/bin/recoilctl s3 key create --bucket b && cd x\n```\n",
        "```\nrecoil start --data-dir x \\\n  --listen 0.0.0.0:7400\n```\n",
        "and `recoilctl APP ARGUMENTS…`, `recoilctl list`\n",
        "    recoil = \"localhost:7400\"\n",
        "recoilctl instal a\n",
    ] {
        assert_eq!(problems(good), Vec::<String>::new(), "{good}");
    }
    for (bad, problem) in [
        ("\n    recoilctl instal a\n", "2: 'instal' is neither a verb of recoilctl nor an app"),
        ("    recoilctl data purge\n", "1: 'data' has no verb 'purge'"),
        ("```\nrecoilctl uninstall a --keep\n```\n", "2: 'uninstall' has no option --keep"),
        ("see `recoil start --seeds a`\n", "1: 'start' has no option --seeds"),
        ("```\nrecoil start --data-dir x \\\n  --nodes=3\n```\n", "2: 'start' has no option --nodes=3"),
        ("    cd a && recoilctl buidl\n", "1: 'buidl' is neither a verb of recoilctl nor an app"),
        ("    recoil_simulator --nodes 3\n", "1: 'recoil_simulator' has no option --nodes"),
    ] {
        assert_eq!(problems(bad), [problem], "{bad}");
    }
}
