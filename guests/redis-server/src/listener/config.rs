//! CONFIG. Nothing can be configured at run time: SET succeeds where it changes nothing, so that clients which insist on a
//! setting that is so anyway work, and says for everything else that it is not possible.

use super::{quoted, unknown_subcommand, wrong_arity};
use crate::glob;
use crate::resp::{Arguments, push_bulk, push_error, push_lines, push_map, push_simple};

/// What CONFIG GET knows, sorted by name. Every acknowledged write is on the disks of a quorum, which in Redis' words is
/// `appendonly yes` with `appendfsync always`. Sizes of small collections are what OBJECT ENCODING goes by.
const PARAMETERS: [(&str, &str); 43] = [
    ("active-expire-effort", "1"),
    ("activerehashing", "no"),
    ("appendfsync", "always"),
    ("appendonly", "yes"),
    ("bind", "*"),
    ("cluster-enabled", "no"),
    ("daemonize", "no"),
    ("databases", "16"),
    ("dbfilename", ""),
    ("dir", ""),
    ("hash-max-listpack-entries", "512"),
    ("hash-max-listpack-value", "64"),
    ("hash-max-ziplist-entries", "512"),
    ("hash-max-ziplist-value", "64"),
    ("hll-sparse-max-bytes", "3000"),
    ("latency-monitor-threshold", "0"),
    ("lazyfree-lazy-expire", "yes"),
    ("lazyfree-lazy-server-del", "yes"),
    ("lazyfree-lazy-user-del", "yes"),
    ("lazyfree-lazy-user-flush", "no"),
    ("list-compress-depth", "0"),
    ("list-max-listpack-size", "-2"),
    ("list-max-ziplist-size", "-2"),
    ("maxclients", "10000"),
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("maxmemory-samples", "5"),
    ("min-replicas-to-write", "0"),
    ("notify-keyspace-events", ""),
    ("port", "6379"),
    ("proto-max-bulk-len", "8388544"),
    ("replica-read-only", "yes"),
    ("requirepass", ""),
    ("save", ""),
    ("set-max-intset-entries", "512"),
    ("set-max-listpack-entries", "128"),
    ("set-max-listpack-value", "64"),
    ("slowlog-log-slower-than", "-1"),
    ("slowlog-max-len", "0"),
    ("stream-node-max-entries", "100"),
    ("timeout", "0"),
    ("zset-max-listpack-entries", "128"),
    ("zset-max-listpack-value", "64"),
];

const HELP: &[&str] = &[
    "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
    "HELP",
    "    Print this help.",
];

/// CONFIG.
pub(super) fn config_reply(out: &mut Vec<u8>, resp3: bool, arguments: Arguments<'_>) {
    let subcommand = arguments.at(1);
    let is = |name: &str| subcommand.eq_ignore_ascii_case(name.as_bytes());
    let length = arguments.len();
    if is("GET") && length > 2 {
        get(out, resp3, arguments);
    } else if is("SET") && length > 3 && length.is_multiple_of(2) {
        match set(arguments) {
            Ok(()) => push_simple(out, "OK"),
            Err(text) => push_error(out, &text),
        }
    } else if is("RESETSTAT") && length == 2 {
        push_simple(out, "OK");
    } else if is("REWRITE") && length == 2 {
        push_error(out, "ERR The server is running without a config file");
    } else if is("HELP") && length == 2 {
        push_lines(out, HELP);
    } else if ["GET", "SET", "RESETSTAT", "REWRITE", "HELP"].into_iter().any(is) {
        push_error(out, &wrong_arity(&format!("config|{}", quoted(subcommand, 32).to_ascii_lowercase())));
    } else {
        push_error(out, &unknown_subcommand("CONFIG", subcommand));
    }
}

fn get(out: &mut Vec<u8>, resp3: bool, arguments: Arguments<'_>) {
    let patterns: Vec<Vec<u8>> = arguments.from(2).map(<[u8]>::to_ascii_lowercase).collect();
    let asked = |name: &str| patterns.iter().any(|pattern| glob::matches(pattern, name.as_bytes()));
    let found: Vec<_> = PARAMETERS.iter().filter(|(name, _)| asked(name)).collect();
    push_map(out, resp3, found.len());
    for (name, value) in found {
        push_bulk(out, name.as_bytes());
        push_bulk(out, value.as_bytes());
    }
}

/// All parameters, or none.
fn set(arguments: Arguments<'_>) -> Result<(), String> {
    let mut seen: Vec<&str> = Vec::new();
    let mut refused = None;
    for at in (2..arguments.len()).step_by(2) {
        let shown = quoted(arguments.at(at), 128);
        let known = PARAMETERS.iter().find(|(name, _)| arguments.at(at).eq_ignore_ascii_case(name.as_bytes()));
        let Some((name, value)) = known else {
            return Err(format!("ERR Unknown option or number of arguments for CONFIG SET - '{shown}'"));
        };
        let failed = format!("ERR CONFIG SET failed (possibly related to argument '{shown}') -");
        if seen.contains(name) {
            return Err(format!("{failed} duplicate parameter"));
        }
        seen.push(name);
        if !arguments.at(at + 1).eq_ignore_ascii_case(value.as_bytes()) {
            refused.get_or_insert(format!(
                "{failed} can't set immutable config: this server is configured by its cluster, and '{name}' is '{value}'"
            ));
        }
    }
    refused.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(PARAMETERS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
