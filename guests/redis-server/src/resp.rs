//! RESP: an incremental parser for what clients send, and writers for what they are sent.
//!
//! [`Parser`] takes bytes as they come and hands out whole commands, without copying their arguments: arrays of bulk
//! strings, and inline commands as a person at a terminal types them. Invariant: memory is bounded by
//! [`COMMAND_BYTES_MAX`], whatever a client sends. A command above it is consumed without being kept and handed out as
//! [`Parsed::TooLarge`], so that the connection goes on. Anything else that is wrong is a [`ProtocolError`] in Redis' own
//! words, after which Redis closes the connection, because nobody knows where the next command begins.

use crate::numbers::{parse_i64, push_f64, push_i64, push_u64};

/// The largest inline command, and the longest line that announces a length.
const INLINE_BYTES_MAX: usize = 64 << 10;
/// The largest bulk string that the protocol allows.
const BULK_BYTES_MAX: i64 = 512 << 20;
/// The largest number of arguments that the protocol allows.
const ARGUMENTS_MAX: i64 = 1024 * 1024;
/// The most that the arguments of one command may come to here: one value of 8 MiB and what goes with it.
pub(crate) const COMMAND_BYTES_MAX: usize = 12 << 20;

/// Input that is not RESP: the text is what Redis answers before it closes the connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProtocolError(pub(crate) String);

fn protocol_error<T>(what: &str) -> Result<T, ProtocolError> {
    Err(ProtocolError(format!("ERR Protocol error: {what}")))
}

/// The arguments of a command, its name first.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a> {
    buffer: &'a [u8],
    ranges: &'a [(usize, usize)],
}

impl<'a> Arguments<'a> {
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }
    /// The argument at `at`; an empty one if there is none, which the arity of a command excludes.
    pub(crate) fn at(&self, at: usize) -> &'a [u8] {
        self.ranges.get(at).map_or(&[], |(start, end)| &self.buffer[*start..*end])
    }
    /// The arguments from `first` on.
    pub(crate) fn from(&self, first: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (buffer, ranges) = (self.buffer, self.ranges.get(first..).unwrap_or(&[]));
        ranges.iter().map(move |(start, end)| &buffer[*start..*end])
    }
    /// Bytes of all arguments.
    pub(crate) fn bytes(&self) -> usize {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }
}

/// Arguments that are kept, as `MULTI` keeps them.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnedArguments {
    buffer: Vec<u8>,
    ranges: Vec<(usize, usize)>,
}

impl OwnedArguments {
    pub(crate) fn copy(arguments: Arguments<'_>) -> Self {
        let mut owned = OwnedArguments { buffer: Vec::with_capacity(arguments.bytes()), ranges: Vec::new() };
        arguments.from(0).for_each(|argument| owned.push(argument));
        owned
    }
    fn push(&mut self, argument: &[u8]) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(argument);
        self.ranges.push((start, self.buffer.len()));
    }
    pub(crate) fn borrow(&self) -> Arguments<'_> {
        Arguments { buffer: &self.buffer, ranges: &self.ranges }
    }
}

/// A command that arrived.
pub(crate) enum Parsed<'a> {
    /// With at least a name.
    Command(Arguments<'a>),
    /// Its arguments came to more than [`COMMAND_BYTES_MAX`], and were dropped.
    TooLarge,
}

/// Takes commands off a stream of bytes.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    buffer: Vec<u8>,
    /// Up to here the buffer has been handed out or dropped.
    position: usize,
    /// Up to here no end of line was found, so that a long line is searched once.
    searched: usize,
    /// Arguments of the command under way.
    ranges: Vec<(usize, usize)>,
    /// Arguments that it still lacks.
    missing: usize,
    /// Length of the argument whose header was read.
    bulk: Option<usize>,
    /// Bytes of a dropped argument that are yet to come.
    skip: usize,
    /// Bytes of arguments announced so far.
    announced: usize,
    inline: OwnedArguments,
}

impl Parser {
    /// More bytes of the stream.
    pub(crate) fn feed(&mut self, input: &[u8]) {
        // What lies before the command under way is not needed any more.
        let start = self.ranges.first().map_or(self.position, |first| first.0);
        if start == self.buffer.len() {
            self.buffer.clear();
        } else if start > 0 {
            self.buffer.drain(..start);
        }
        if start > 0 {
            self.position -= start;
            self.searched = self.searched.saturating_sub(start);
            // Only when something moved: a client that sends a million arguments byte by byte must not cost a million steps a byte.
            self.ranges.iter_mut().for_each(|range| *range = (range.0 - start, range.1 - start));
        }
        self.buffer.extend_from_slice(input);
    }

    /// Bytes held, used or not.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn bytes_held(&self) -> usize {
        self.buffer.capacity() + self.inline.buffer.capacity()
    }

    /// The next command; none when the bytes so far hold no further whole one.
    pub(crate) fn next(&mut self) -> Result<Option<Parsed<'_>>, ProtocolError> {
        loop {
            if self.missing == 0 {
                self.ranges.clear();
                self.announced = 0;
                match self.buffer.get(self.position) {
                    None => return Ok(None),
                    Some(b'*') => {
                        let Some(count) = self.line("too big mbulk count string")? else { return Ok(None) };
                        let count = parse_i64(&self.buffer[count.0 + 1..count.1]);
                        let Some(count) = count.filter(|count| *count <= ARGUMENTS_MAX) else {
                            return protocol_error("invalid multibulk length");
                        };
                        self.missing = usize::try_from(count).unwrap_or(0); // an empty or null array asks for nothing
                        continue;
                    }
                    Some(_) => {
                        let Some((start, end)) = self.line("too big inline request")? else { return Ok(None) };
                        self.inline = split_inline(&self.buffer[start..end])?;
                        if self.inline.ranges.is_empty() {
                            continue;
                        }
                        return Ok(Some(Parsed::Command(self.inline.borrow())));
                    }
                }
            }
            if !self.argument()? {
                return Ok(None);
            }
            self.missing -= 1;
            if self.missing == 0 {
                if self.announced > COMMAND_BYTES_MAX {
                    return Ok(Some(Parsed::TooLarge));
                }
                return Ok(Some(Parsed::Command(Arguments { buffer: &self.buffer, ranges: &self.ranges })));
            }
        }
    }

    /// Take one argument of the command under way; false if it is not all there.
    fn argument(&mut self) -> Result<bool, ProtocolError> {
        let length = match self.bulk {
            Some(length) => length,
            None => {
                match self.buffer.get(self.position) {
                    None => return Ok(false),
                    Some(b'$') => {}
                    Some(other) => return protocol_error(&format!("expected '$', got '{}'", printable(*other))),
                }
                let Some(header) = self.line("too big bulk count string")? else { return Ok(false) };
                let length = parse_i64(&self.buffer[header.0 + 1..header.1]);
                let Some(length) = length.filter(|length| (0..=BULK_BYTES_MAX).contains(length)) else {
                    return protocol_error("invalid bulk length");
                };
                self.announce(length as usize)
            }
        };
        if self.announced > COMMAND_BYTES_MAX {
            let dropped = self.skip.min(self.buffer.len() - self.position);
            self.skip -= dropped;
            self.position += dropped;
            self.searched = self.position;
            if self.skip > 0 {
                return Ok(false);
            }
        } else {
            let end = self.position + length;
            if self.buffer.len() < end + 2 {
                return Ok(false);
            }
            self.ranges.push((self.position, end));
            self.position = end + 2; // like Redis, trusts the two bytes to end the line
            self.searched = self.position;
        }
        self.bulk = None;
        Ok(true)
    }

    /// An argument of `length` bytes is to come: make room for it, or decide to drop it and what came before.
    fn announce(&mut self, length: usize) -> usize {
        self.bulk = Some(length);
        self.announced = self.announced.saturating_add(length);
        if self.announced > COMMAND_BYTES_MAX {
            self.ranges.clear();
            self.skip = length + 2;
        } else {
            let needed = (self.position + length + 2).saturating_sub(self.buffer.len());
            if self.buffer.capacity() - self.buffer.len() < needed {
                self.buffer.reserve_exact(needed); // doubling would be too much for the largest
            }
        }
        length
    }

    /// Take a line; its range without the end of the line. None if it is not all there.
    fn line(&mut self, too_long: &str) -> Result<Option<(usize, usize)>, ProtocolError> {
        let from = self.searched.max(self.position);
        let Some(newline) = self.buffer[from..].iter().position(|byte| *byte == b'\n').map(|at| at + from) else {
            self.searched = self.buffer.len();
            if self.buffer.len() - self.position > INLINE_BYTES_MAX {
                return protocol_error(too_long);
            }
            return Ok(None);
        };
        let start = self.position;
        if newline - start > INLINE_BYTES_MAX {
            return protocol_error(too_long);
        }
        self.position = newline + 1;
        self.searched = self.position;
        let end = if newline > start && self.buffer[newline - 1] == b'\r' { newline - 1 } else { newline };
        Ok(Some((start, end)))
    }
}

fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' }
}

/// The words of an inline command: separated by spaces, quoted with `"` (with escapes) or `'`.
fn split_inline(line: &[u8]) -> Result<OwnedArguments, ProtocolError> {
    let mut arguments = OwnedArguments::default();
    let mut rest = line;
    loop {
        while let [first, after @ ..] = rest
            && first.is_ascii_whitespace()
        {
            rest = after;
        }
        if rest.is_empty() {
            return Ok(arguments);
        }
        let mut word = Vec::new();
        rest = match rest[0] {
            quote @ (b'"' | b'\'') => quoted_word(&rest[1..], quote, &mut word)?,
            _ => plain_word(rest, &mut word)?,
        };
        if !rest.is_empty() && !rest[0].is_ascii_whitespace() {
            return protocol_error("unbalanced quotes in request");
        }
        arguments.push(&word);
    }
}

fn plain_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    while let [first, after @ ..] = rest {
        match first {
            byte if byte.is_ascii_whitespace() => break,
            quote @ (b'"' | b'\'') => return quoted_word(after, *quote, word),
            byte => word.push(*byte),
        }
        rest = after;
    }
    Ok(rest)
}

fn quoted_word<'a>(mut rest: &'a [u8], quote: u8, word: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        match rest {
            [] => return protocol_error("unbalanced quotes in request"),
            [first, after @ ..] if *first == quote => return Ok(after),
            [b'\\', b'x', high, low, after @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digit = |byte: u8| (char::from(byte).to_digit(16).unwrap_or(0)) as u8;
                word.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            [b'\\', escaped, after @ ..] if quote == b'"' => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = after;
            }
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// `+text`.
pub(crate) fn push_simple(out: &mut Vec<u8>, text: &str) {
    out.push(b'+');
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `-CODE text`; line ends within the text become spaces.
pub(crate) fn push_error(out: &mut Vec<u8>, text: &str) {
    out.push(b'-');
    out.extend(text.bytes().map(|byte| if byte == b'\r' || byte == b'\n' { b' ' } else { byte }));
    out.extend_from_slice(b"\r\n");
}

/// `:number`.
pub(crate) fn push_integer(out: &mut Vec<u8>, value: i64) {
    out.push(b':');
    push_i64(out, value);
    out.extend_from_slice(b"\r\n");
}

/// `$length` and the bytes.
pub(crate) fn push_bulk(out: &mut Vec<u8>, value: &[u8]) {
    push_length(out, b'$', value.len());
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The head of an array of `count` replies.
pub(crate) fn push_array(out: &mut Vec<u8>, count: usize) {
    push_length(out, b'*', count);
}

/// The head of a map of `count` pairs; in RESP2 an array of twice as many replies.
pub(crate) fn push_map(out: &mut Vec<u8>, resp3: bool, count: usize) {
    if resp3 { push_length(out, b'%', count) } else { push_length(out, b'*', count * 2) }
}

/// The head of a set of `count` replies; in RESP2 an array.
pub(crate) fn push_set(out: &mut Vec<u8>, resp3: bool, count: usize) {
    push_length(out, if resp3 { b'~' } else { b'*' }, count);
}

/// The head of a message that no command asked for, of `count` replies; in RESP2 an array.
pub(crate) fn push_push(out: &mut Vec<u8>, resp3: bool, count: usize) {
    push_length(out, if resp3 { b'>' } else { b'*' }, count);
}

/// A floating-point number: a bulk string in RESP2.
pub(crate) fn push_double(out: &mut Vec<u8>, resp3: bool, value: f64) {
    let mut text = Vec::with_capacity(24);
    push_f64(&mut text, value);
    if resp3 {
        out.push(b',');
        out.extend_from_slice(&text);
        out.extend_from_slice(b"\r\n");
    } else {
        push_bulk(out, &text);
    }
}

/// Text for people: a verbatim string in RESP3, else a bulk string.
pub(crate) fn push_text(out: &mut Vec<u8>, resp3: bool, text: &str) {
    if !resp3 {
        return push_bulk(out, text.as_bytes());
    }
    push_length(out, b'=', text.len() + 4);
    out.extend_from_slice(b"txt:");
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Lines, each a simple string: what HELP answers.
pub(crate) fn push_lines(out: &mut Vec<u8>, lines: &[&str]) {
    push_array(out, lines.len());
    lines.iter().for_each(|line| push_simple(out, line));
}

/// No value.
pub(crate) fn push_null(out: &mut Vec<u8>, resp3: bool) {
    out.extend_from_slice(if resp3 { b"_\r\n" } else { b"$-1\r\n" });
}

/// No array.
pub(crate) fn push_null_array(out: &mut Vec<u8>, resp3: bool) {
    out.extend_from_slice(if resp3 { b"_\r\n" } else { b"*-1\r\n" });
}

fn push_length(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    push_u64(out, length as u64);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command's arguments; none if it was too large.
    type Seen = Option<Vec<Vec<u8>>>;

    /// What comes of input that arrives in `chunks`: each command as its arguments, `None` for one too large.
    fn parse<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Seen>, Option<String>) {
        let mut parser = Parser::default();
        let mut commands = Vec::new();
        for chunk in chunks {
            parser.feed(chunk);
            loop {
                match parser.next() {
                    Ok(Some(Parsed::Command(arguments))) => {
                        commands.push(Some(arguments.from(0).map(<[u8]>::to_vec).collect()))
                    }
                    Ok(Some(Parsed::TooLarge)) => commands.push(None),
                    Ok(None) => break,
                    Err(error) => return (commands, Some(error.0)),
                }
            }
        }
        (commands, None)
    }

    fn words(text: &str) -> Seen {
        Some(text.split(' ').map(|word| word.as_bytes().to_vec()).collect())
    }

    #[test]
    fn commands_come_out_whole_wherever_the_stream_is_cut() {
        let stream: &[u8] =
            b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\nPING\r\n\r\n*0\r\n*-1\r\n*3\r\n$3\r\nset\r\n$1\r\na\r\n$0\r\n\r\n  echo  \"a b\\x41\\n\"  'c'\n*1\r\n$4\r\nPING\r\n";
        let expected = vec![
            words("GET key"),
            words("PING"),
            words("set a "),
            Some(vec![b"echo".to_vec(), b"a bA\n".to_vec(), b"c".to_vec()]),
            words("PING"),
        ];
        assert_eq!(parse([stream]), (expected.clone(), None));
        assert_eq!(parse(stream.chunks(1)), (expected.clone(), None));
        for cut in 0..stream.len() {
            assert_eq!(parse([&stream[..cut], &stream[cut..]]), (expected.clone(), None), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_resp_is_refused_in_the_words_of_redis() {
        for (stream, text) in [
            (&b"*x\r\n"[..], "invalid multibulk length"),
            (b"*1048577\r\n", "invalid multibulk length"),
            (b"*99999999999999999999\r\n", "invalid multibulk length"),
            (b"*1\r\nfoo\r\n", "expected '$', got 'f'"),
            (b"*1\r\n\x00", "expected '$', got '?'"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$abc\r\n", "invalid bulk length"),
            (b"*1\r\n$536870913\r\n", "invalid bulk length"),
            (b"set \"a\r\n", "unbalanced quotes in request"),
            (b"set \"a\"b\r\n", "unbalanced quotes in request"),
            (b"set 'a\r\n", "unbalanced quotes in request"),
        ] {
            let (commands, error) = parse([stream]);
            assert!(commands.is_empty());
            assert_eq!(error.unwrap(), format!("ERR Protocol error: {text}"));
        }
        let long = vec![b'a'; INLINE_BYTES_MAX + 1];
        assert_eq!(parse([&long[..]]).1.unwrap(), "ERR Protocol error: too big inline request");
        let long = [b"*", &long[..]].concat();
        assert_eq!(parse([&long[..]]).1.unwrap(), "ERR Protocol error: too big mbulk count string");
        let long = [b"*1\r\n$", &long[..]].concat();
        assert_eq!(parse([&long[..]]).1.unwrap(), "ERR Protocol error: too big bulk count string");
    }

    #[test]
    fn a_command_that_is_too_large_is_dropped_and_the_next_one_served() {
        let value = vec![b'v'; COMMAND_BYTES_MAX];
        let mut stream = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len()).into_bytes();
        stream.extend_from_slice(&value);
        stream.extend_from_slice(b"\r\n*1\r\n$4\r\nPING\r\n");
        let mut parser = Parser::default();
        let mut seen = Vec::new();
        for chunk in stream.chunks(64 << 10) {
            parser.feed(chunk);
            assert!(parser.buffer.capacity() < 1 << 20, "a dropped argument is not kept");
            while let Some(parsed) = parser.next().unwrap() {
                seen.push(matches!(parsed, Parsed::TooLarge));
            }
        }
        assert_eq!(seen, [true, false]);
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let alphabet = b"*$0123456789-\r\n\"'\\x aGET";
        for _ in 0..3000 {
            let stream: Vec<u8> = (0..60)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    alphabet[(state % alphabet.len() as u64) as usize]
                })
                .collect();
            let whole = parse([&stream[..]]);
            assert_eq!(whole, parse(stream.chunks(1)));
        }
    }

    #[test]
    fn replies_are_written_as_the_protocol_says() {
        let mut out = Vec::new();
        push_simple(&mut out, "OK");
        push_error(&mut out, "ERR a\r\nb");
        push_integer(&mut out, -42);
        push_bulk(&mut out, b"hi");
        push_map(&mut out, false, 2);
        push_map(&mut out, true, 2);
        push_null(&mut out, true);
        push_null_array(&mut out, false);
        assert_eq!(out, b"+OK\r\n-ERR a  b\r\n:-42\r\n$2\r\nhi\r\n*4\r\n%2\r\n_\r\n*-1\r\n");
    }
}
