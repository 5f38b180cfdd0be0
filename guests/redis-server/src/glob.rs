//! Redis' glob patterns: `*`, `?`, `[a-c]`, `[^x]`, and `\` for the character itself.
//!
//! Invariant: the time is bounded by pattern × text, whatever the pattern: only the last `*` is ever tried again, which
//! is enough, because a later star can take all that an earlier one could.

/// True if all of `text` matches `pattern`.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at_pattern, mut at_text) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if at_pattern < pattern.len() && pattern[at_pattern] == b'*' {
            at_pattern += 1;
            retry = Some((at_pattern, at_text));
            continue;
        }
        if at_text == text.len() {
            return at_pattern == pattern.len();
        }
        if at_pattern < pattern.len()
            && let Some(next) = match_one(pattern, at_pattern, text[at_text])
        {
            at_pattern = next;
            at_text += 1;
            continue;
        }
        // The last star takes one character more.
        let Some((pattern_after, text_from)) = retry else { return false };
        at_pattern = pattern_after;
        at_text = text_from + 1;
        retry = Some((pattern_after, at_text));
    }
}

/// Where the pattern goes on if its element at `at`, which is not a star, matches `byte`.
fn match_one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match pattern[at] {
        b'?' => Some(at + 1),
        b'[' => match_class(pattern, at + 1, byte),
        b'\\' if at + 1 < pattern.len() => (pattern[at + 1] == byte).then_some(at + 2),
        literal => (literal == byte).then_some(at + 1),
    }
}

fn match_class(pattern: &[u8], mut at: usize, byte: u8) -> Option<usize> {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    // As in Redis, a class that is not closed ends with the pattern.
    while at < pattern.len() && pattern[at] != b']' {
        if pattern[at] == b'\\' && at + 1 < pattern.len() {
            found |= pattern[at + 1] == byte;
            at += 2;
        } else if at + 2 < pattern.len() && pattern[at + 1] == b'-' {
            let (low, high) = (pattern[at].min(pattern[at + 2]), pattern[at].max(pattern[at + 2]));
            found |= (low..=high).contains(&byte);
            at += 3;
        } else {
            found |= pattern[at] == byte;
            at += 1;
        }
    }
    (found != negated).then_some((at + 1).min(pattern.len()))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "hllo", true),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hxllo", false),
            ("a*b*c", "axxbxxbyc", true),
            ("a*b*c", "axxbxxby", false),
            ("[abc", "a", true),
            ("[\\]]", "]", true),
            ("key:*:x", "key:1:2:x", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} on {text}");
        }
        let text = vec![b'a'; 20_000];
        assert!(!matches(b"a*a*a*a*a*a*a*a*a*a*b", &text), "and ends soon");
    }
}
