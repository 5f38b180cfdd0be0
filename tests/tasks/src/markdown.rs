//! Documentation: what the repository's Markdown files refer to must exist.
//!
//! [`problems`] is a pure function over the texts; only [`check`] reads files. It finds
//! - relative links to files that do not exist, and links into a Markdown file whose anchor is the heading of none;
//! - rules that sources cite by number ("rule M9") and that the chapter of invariants does not have, and tests that this chapter names
//!   and no source has;
//! - chapters of the book that its summary does not list, since mdBook leaves those out without a word;
//! - lines wider than [`WIDTH_MAX`].
//!
//! Deliberately absent: links to other hosts, whose check would depend on the network, and command lines, which are compared
//! with the programs themselves by the tests of `host/bins`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::root;

/// Characters in a line of Markdown. Tables and lines with a link may be wider, since neither can be broken everywhere.
const WIDTH_MAX: usize = 160;
/// Figures and notes as measurements leave them, whose lines are not broken by hand.
const MEASURED: &str = "tests/bench/RESULTS.md";
/// The book's chapters, and the one that has the numbered rules.
const BOOK: &str = "host/docs/src/";
const SUMMARY: &str = "host/docs/src/SUMMARY.md";
const INVARIANTS: &str = "host/docs/src/invariants.md";

/// Checks the documentation of the clone, and prints every problem.
pub(crate) fn check() -> anyhow::Result<()> {
    eprintln!("\n== documentation");
    let mut git = Command::new("git");
    git.current_dir(root()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.output().context("documentation: cannot run git")?;
    if !output.status.success() {
        bail!("documentation: git cannot list the files of {}; is it a clone?", root().display());
    }
    let listed = String::from_utf8(output.stdout).context("documentation: a file's name is not UTF-8")?;
    let listed = listed.split_terminator('\0').filter(|path| root().join(path).exists());
    let files: BTreeSet<String> = listed.map(str::to_owned).collect();
    let mut texts = BTreeMap::new();
    for path in files.iter().filter(|path| path.ends_with(".md") || path.ends_with(".rs")) {
        let text = std::fs::read_to_string(root().join(path)).with_context(|| format!("reading {path}"))?;
        texts.insert(path.clone(), text);
    }
    let problems = problems(&texts, &files);
    for problem in &problems {
        eprintln!("{problem}");
    }
    if !problems.is_empty() {
        bail!("documentation failed: {} problems, which are named above", problems.len());
    }
    Ok(())
}

/// What is wrong with the Markdown files and the citations of sources among `texts`, in a repository that has `files`: a line each,
/// `file:line: what`.
fn problems(texts: &BTreeMap<String, String>, files: &BTreeSet<String>) -> Vec<String> {
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        markdown(texts).map(|(path, text)| (path, anchors_of(text))).collect();
    let mut problems = Vec::new();
    for (path, text) in markdown(texts) {
        for (line, link) in links_of(text) {
            if let Some(why) = broken(path, &link, files, &anchors) {
                problems.push(format!("{path}:{line}: the link {link} {why}"));
            }
        }
        for (line, width) in wide_lines(text).filter(|_| path != MEASURED) {
            problems.push(format!("{path}:{line}: {width} characters; break the line at {WIDTH_MAX} or before"));
        }
    }
    for (path, text) in texts.iter().filter(|(path, _)| path.ends_with(".rs")) {
        for (line, rule) in cited_rules(text) {
            if !anchors.get(INVARIANTS).is_some_and(|rules| rules.contains(&rule.to_lowercase())) {
                problems.push(format!("{path}:{line}: rule {rule} has no heading in {INVARIANTS}"));
            }
        }
    }
    problems.extend(unknown_tests(texts));
    problems.extend(unlisted_chapters(texts));
    problems
}

fn markdown(texts: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    texts.iter().filter(|(path, _)| path.ends_with(".md")).map(|(path, text)| (&**path, &**text))
}

/// Why a link leads nowhere, if it does.
fn broken(
    from: &str,
    link: &str,
    files: &BTreeSet<String>,
    anchors: &BTreeMap<&str, BTreeSet<String>>,
) -> Option<String> {
    let has_scheme = link.split_once(':').is_some_and(|(scheme, _)| scheme.bytes().all(|b| b.is_ascii_alphanumeric()));
    if has_scheme {
        return None;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let Some(target) = resolved(from, path) else { return Some("leaves the repository".to_owned()) };
    let in_folder = format!("{target}/");
    let is_folder =
        target.is_empty() || files.range(in_folder.clone()..).next().is_some_and(|file| file.starts_with(&in_folder));
    if !files.contains(&target) && !is_folder {
        return Some(format!("leads to {target}, which does not exist"));
    }
    let anchor = anchor?;
    match anchors.get(&*target) {
        Some(known) if known.contains(anchor) => None,
        Some(_) => Some(format!("names an anchor that {target} does not have")),
        None => Some("names an anchor in a file that is not Markdown, where headings cannot be checked".to_owned()),
    }
}

/// The path in the repository that a link in the file `from` means; none if it leads out of it.
fn resolved(from: &str, path: &str) -> Option<String> {
    if path.is_empty() {
        return Some(from.to_owned());
    }
    let mut parts: Vec<&str> = if path.starts_with('/') { vec![] } else { from.split('/').collect() };
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The lines of a text that are in no fenced code block, counted from 1.
fn unfenced(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fence: Option<&str> = None;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let trimmed = line.trim_start();
        let opens = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        match (fence, opens) {
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, Some(mark)) => fence = Some(mark),
            (None, None) => return true,
            (Some(_), _) => {}
        }
        false
    })
}

/// The text outside fenced code blocks, with every code span blanked, as paragraphs: the number of a paragraph's first line, and its
/// lines. A code span and a link may go over several lines, and never over an empty one.
fn paragraphs(text: &str) -> Vec<(usize, String)> {
    let mut paragraphs: Vec<(usize, String)> = Vec::new();
    let mut last = 0;
    for (number, line) in unfenced(text).filter(|(_, line)| !line.trim().is_empty()) {
        match paragraphs.last_mut().filter(|_| last + 1 == number) {
            Some((_, paragraph)) => {
                paragraph.push('\n');
                paragraph.push_str(line);
            }
            None => paragraphs.push((number, line.to_owned())),
        }
        last = number;
    }
    paragraphs.iter_mut().for_each(|(_, paragraph)| *paragraph = without_code_spans(paragraph));
    paragraphs
}

fn without_code_spans(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('`') {
        let ticks = rest[at..].len() - rest[at..].trim_start_matches('`').len();
        let (before, code) = (&rest[..at], &rest[at + ticks..]);
        kept.push_str(before);
        let mark = "`".repeat(ticks);
        // Without its end it is no code span but text.
        let Some(end) = code.find(&mark) else {
            kept.push_str(code);
            return kept;
        };
        // Something must stay of it: a link whose text is code has a text.
        kept.push('x');
        kept.extend(code[..end].chars().filter(|c| *c == '\n'));
        rest = &code[end + ticks..];
    }
    kept.push_str(rest);
    kept
}

/// The targets of a text's links, inline and in definitions, each with its line.
fn links_of(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (first, paragraph) in paragraphs(text) {
        let line_of = |at: usize| first + paragraph[..at].matches('\n').count();
        for (at, _) in paragraph.match_indices("](") {
            let inside = &paragraph[at + 2..];
            let end = inside.find([')', ' ', '\n']).unwrap_or(inside.len());
            links.push((line_of(at), inside[..end].trim_matches(['<', '>']).to_owned()));
        }
        for (number, line) in (first..).zip(paragraph.lines()) {
            let definition = line.trim_start().strip_prefix('[').and_then(|line| line.split_once("]: "));
            if let Some((_, target)) = definition {
                let target = target.split_whitespace().next().unwrap_or_default();
                links.push((number, target.trim_matches(['<', '>']).to_owned()));
            }
        }
    }
    links
}

/// The anchors that a Markdown file has, as GitHub and mdBook make them of its headings.
fn anchors_of(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in unfenced(text) {
        let title = line.trim_start_matches('#');
        let level = line.len() - title.len();
        if !(1..=6).contains(&level) || !title.starts_with(' ') {
            continue;
        }
        let slug = slug(title.trim());
        let repeated = (1..).map(|count| format!("{slug}-{count}"));
        anchors.extend(std::iter::once(slug.clone()).chain(repeated).find(|anchor| !anchors.contains(anchor)));
    }
    anchors
}

fn slug(title: &str) -> String {
    // Of a link in a heading only its text counts.
    let mut plain = String::new();
    let mut rest = title;
    while let Some((before, after)) = rest.split_once("](") {
        plain.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    let kept = plain.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The rules that a source cites by their numbers: what follows the word "rule" or "rules", such as "rules M4, M6 and M8".
fn cited_rules(text: &str) -> Vec<(usize, String)> {
    let mut cited = Vec::new();
    let mut follows = false;
    for (number, line) in (1..).zip(text.lines()) {
        for word in line.split_whitespace() {
            let bare = word.trim_matches(['(', ')', ',', '.', ';', ':']);
            if is_rule(bare) && follows {
                cited.push((number, bare.to_owned()));
            } else if !matches!(bare, "and" | "to" | "//" | "///" | "//!") {
                // Not at the end of a sentence.
                follows = matches!(word.trim_start_matches('('), "rule" | "rules");
            }
        }
    }
    cited
}

/// A problem for each test that the chapter of invariants names and that no source has. A name of three words and more is a test's, or at
/// least a function's.
fn unknown_tests(texts: &BTreeMap<String, String>) -> Vec<String> {
    let Some(chapter) = texts.get(INVARIANTS) else { return vec![] };
    let sources: Vec<&String> = texts.iter().filter(|(path, _)| path.ends_with(".rs")).map(|(_, text)| text).collect();
    let is_name = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let named = (1..).zip(chapter.lines()).flat_map(|(number, line)| {
        let spans = line.split('`').skip(1).step_by(2);
        spans.filter(|span| is_name(span) && span.matches('_').count() >= 3).map(move |span| (number, span))
    });
    let is_there = |name: &str| sources.iter().any(|text| text.contains(&format!("fn {name}(")));
    named
        .filter(|(_, name): &(usize, &str)| !is_there(name))
        .map(|(number, name)| format!("{INVARIANTS}:{number}: no source has a test {name}"))
        .collect()
}

fn is_rule(word: &str) -> bool {
    let digits = word.strip_prefix(['B', 'H', 'M']);
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn wide_lines(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let may_be_wide = |line: &str| line.trim_start().starts_with('|') || line.contains("](") || line.contains("://");
    let widths = (1..).zip(text.lines()).filter(move |(_, line)| !may_be_wide(line));
    widths.map(|(number, line)| (number, line.chars().count())).filter(|(_, width)| *width > WIDTH_MAX)
}

/// A problem for each chapter of the book that the summary does not list.
fn unlisted_chapters(texts: &BTreeMap<String, String>) -> Vec<String> {
    let Some(summary) = texts.get(SUMMARY) else { return vec![] };
    let listed: BTreeSet<String> =
        links_of(summary).into_iter().filter_map(|(_, link)| resolved(SUMMARY, &link)).collect();
    let chapters = texts.keys().filter(|path| path.starts_with(BOOK) && path.ends_with(".md") && *path != SUMMARY);
    chapters
        .filter(|path| !listed.contains(*path))
        .map(|path| format!("{path}: {SUMMARY} does not list this chapter"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The problems of a repository with these texts, which has the file `code/a.rs` as well.
    fn found(texts: &[(&str, &str)]) -> Vec<String> {
        let texts: BTreeMap<String, String> =
            texts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let files = texts.keys().cloned().chain(["code/a.rs".to_owned()]).collect();
        problems(&texts, &files)
    }

    /// Fails if the documentation of this repository has a problem; which, is printed.
    #[test]
    fn the_documentation_of_this_repository_has_no_problems() {
        check().unwrap();
    }

    /// Fails if a link to what is not there passes, or one to what is there does not: files, folders, anchors, from any folder.
    #[test]
    fn a_link_to_nothing_is_a_problem_and_any_other_is_none() {
        let other = ("docs/other.md", "# One, `two` & [three](other.md)\n\n## Again\n## Again\n");
        for good in [
            "[a](../code/a.rs)",
            "[a](../code)",
            "[a](../code/) and [b](other.md)",
            "[a](other.md#one-two--three)",
            "[a](other.md#again-1)",
            "[a](#here)\n\n## Here\n",
            "[a](https://example.com/none) [b](mailto:a@example.com)",
            "a [link whose text\ngoes on](other.md)",
            "`[a](none.md)` and ``x` [a](none.md)``",
            "```\n[a](none.md)\n```\n",
            "[a]: other.md\n",
        ] {
            assert_eq!(found(&[("docs/page.md", good), other]), Vec::<String>::new(), "{good}");
        }
        for (bad, problem) in [
            ("\n[a](none.md)", "docs/page.md:2: the link none.md leads to docs/none.md, which does not exist"),
            ("[a](../cod)", "docs/page.md:1: the link ../cod leads to cod, which does not exist"),
            ("[a](../../x.md)", "docs/page.md:1: the link ../../x.md leaves the repository"),
            (
                "[a](other.md#no)",
                "docs/page.md:1: the link other.md#no names an anchor that docs/other.md does not have",
            ),
            (
                "[a](other.md#again-2)",
                "docs/page.md:1: the link other.md#again-2 names an anchor that docs/other.md does not have",
            ),
            ("[a]: none.md", "docs/page.md:1: the link none.md leads to docs/none.md, which does not exist"),
            ("`x`\n[`a`](none.md)", "docs/page.md:2: the link none.md leads to docs/none.md, which does not exist"),
            ("```\n```\n[a](none.md)", "docs/page.md:3: the link none.md leads to docs/none.md, which does not exist"),
        ] {
            assert_eq!(found(&[("docs/page.md", bad), other]), [problem], "{bad}");
        }
        let line = found(&[("docs/page.md", "[a](../code/a.rs#L7)")]);
        assert!(line.len() == 1 && line[0].contains("not Markdown"), "{line:?}");
    }

    /// Fails if a rule that a source cites may be missing from the book, or if what is no citation is taken for one.
    #[test]
    fn cited_rules_have_a_heading() {
        let book = (INVARIANTS, "### M4\n### M6\n");
        let summary = (SUMMARY, "[a](invariants.md)");
        let source = "//! (rules M4, M6 and\n//! M8). For M9 see there; the rule. H1 is a host.\n/// (rule H2)\n";
        let problems = found(&[book, summary, ("code/b.rs", source)]);
        assert_eq!(
            problems,
            [
                "code/b.rs:2: rule M8 has no heading in host/docs/src/invariants.md",
                "code/b.rs:3: rule H2 has no heading in host/docs/src/invariants.md"
            ]
        );
    }

    /// Fails if the chapter of invariants may name a test that is not there.
    #[test]
    fn tests_that_the_invariants_name_exist() {
        let book = (INVARIANTS, "\n`a_b_c_d` and `a_b_c_e`, `enable_leader_restore`\n");
        let problems = found(&[book, (SUMMARY, "[a](invariants.md)"), ("code/b.rs", "fn a_b_c_d() {}")]);
        assert_eq!(problems, ["host/docs/src/invariants.md:2: no source has a test a_b_c_e"]);
    }

    /// Fails if a chapter may be missing from the summary.
    #[test]
    fn every_chapter_is_in_the_summary() {
        let summary = (SUMMARY, "- [a](a.md)\n");
        let chapters = [("host/docs/src/a.md", "# A"), ("host/docs/src/b.md", "# B"), summary];
        assert_eq!(found(&chapters), ["host/docs/src/b.md: host/docs/src/SUMMARY.md does not list this chapter"]);
    }

    /// Fails if long lines pass, or tables and links do not.
    #[test]
    fn long_lines_are_problems_but_for_tables_and_links() {
        let long = "é".repeat(WIDTH_MAX + 1);
        assert_eq!(
            found(&[("a.md", &format!("x\n{long}"))]),
            ["a.md:2: 161 characters; break the line at 160 or before"]
        );
        let fits = "é".repeat(WIDTH_MAX);
        assert!(found(&[("a.md", &format!("{fits}\n| {long} |\n{long} https://example.com\n"))]).is_empty());
    }
}
