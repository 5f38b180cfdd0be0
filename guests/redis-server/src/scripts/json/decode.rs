//! Decoding JSON as lua-cjson does, token by token.

use super::Settings;
use crate::scripts::format::parse_number;
use crate::scripts::natives::Raise;
use crate::scripts::value::{DEPTH_MAX, Table, Value};

/// A token of JSON.
#[derive(Clone, PartialEq)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::Text(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Error(what) => what,
        }
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    /// Where the last token began, or the error is.
    token_at: usize,
    decode_invalid: bool,
    depth_max: usize,
}

/// The value of a text.
pub(super) fn decode(settings: &Settings, text: &[u8]) -> Result<Value, Raise> {
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(Raise::Text("JSON parser does not support UTF-16 or UTF-32".to_owned()));
    }
    let depth_max = settings.decode_depth_max.min(DEPTH_MAX);
    let mut parser = Parser { text, at: 0, token_at: 0, decode_invalid: settings.decode_invalid, depth_max };
    let token = parser.next();
    let value = parser.value(token, 0)?;
    match parser.next() {
        Token::End => Ok(value),
        other => Err(parser.expected("the end", &other)),
    }
}

impl Parser<'_> {
    fn byte(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn expected(&self, what: &str, found: &Token) -> Raise {
        let found = found.name();
        Raise::Text(format!("Expected {what} but found {found} at character {}", self.token_at + 1))
    }

    fn fail(&mut self, what: &'static str) -> Token {
        self.token_at = self.at;
        Token::Error(what)
    }

    fn next(&mut self) -> Token {
        while matches!(self.byte(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.token_at = self.at;
        let rest = &self.text[self.at.min(self.text.len())..];
        let single = match self.byte(0) {
            0 => return Token::End,
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => {
                if !self.decode_invalid && is_invalid_number(rest) {
                    return self.fail("invalid number");
                }
                return self.number();
            }
            _ => {
                let words =
                    [(&b"true"[..], Token::Boolean(true)), (b"false", Token::Boolean(false)), (b"null", Token::Null)];
                for (word, token) in words {
                    if rest.starts_with(word) {
                        self.at += word.len();
                        return token;
                    }
                }
                if matches!(self.byte(0), b'+' | b'i' | b'I' | b'n' | b'N')
                    && self.decode_invalid
                    && is_invalid_number(rest)
                {
                    return self.number();
                }
                return self.fail("invalid token");
            }
        };
        self.at += 1;
        single
    }

    /// The longest number that begins here, as `strtod` finds it.
    fn number(&mut self) -> Token {
        let rest = &self.text[self.at..];
        let length = number_length(rest);
        match parse_number(&rest[..length]) {
            Some(number) if length > 0 => {
                self.at += length;
                Token::Number(number)
            }
            _ => self.fail("invalid number"),
        }
    }

    fn string(&mut self) -> Token {
        let mut text = Vec::new();
        self.at += 1;
        loop {
            match self.byte(0) {
                b'"' => break,
                0 => return self.fail("unexpected end of string"),
                b'\\' => {
                    let escaped = match self.byte(1) {
                        byte @ (b'"' | b'\\' | b'/') => byte,
                        b'b' => 8,
                        b'f' => 12,
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'u' => {
                            let Some((letter, length)) = self.unicode() else {
                                return self.fail("invalid unicode escape code");
                            };
                            let mut buffer = [0; 4];
                            text.extend_from_slice(letter.encode_utf8(&mut buffer).as_bytes());
                            self.at += length;
                            continue;
                        }
                        _ => return self.fail("invalid escape code"),
                    };
                    text.push(escaped);
                    self.at += 2;
                }
                byte => {
                    text.push(byte);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Token::Text(text)
    }

    fn hexadecimal(&self, ahead: usize) -> Option<u32> {
        let digits = self.text.get(self.at + ahead..self.at + ahead + 4)?;
        digits.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
    }

    /// The letter of an escape, and the escape's length.
    fn unicode(&self) -> Option<(char, usize)> {
        let first = self.hexadecimal(2)?;
        if first & 0xf800 != 0xd800 {
            return Some((char::from_u32(first)?, 6));
        }
        if first & 0x400 != 0 || self.byte(6) != b'\\' || self.byte(7) != b'u' {
            return None;
        }
        let second = self.hexadecimal(8)?;
        if second & 0xfc00 != 0xdc00 {
            return None;
        }
        Some((char::from_u32(((first & 0x3ff) << 10 | second & 0x3ff) + 0x1_0000)?, 12))
    }

    fn value(&mut self, token: Token, depth: usize) -> Result<Value, Raise> {
        match token {
            Token::Text(text) => Ok(Value::Bytes(text)),
            Token::Number(number) => Ok(Value::Number(number)),
            Token::Boolean(truth) => Ok(Value::Boolean(truth)),
            Token::Null => Ok(Value::Null),
            Token::ObjectBegin => self.object(self.deeper(depth)?),
            Token::ArrayBegin => self.array(self.deeper(depth)?),
            other => Err(self.expected("value", &other)),
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize, Raise> {
        if depth + 1 > self.depth_max {
            return Err(Raise::Text(format!("Found too many nested data structures ({})", depth + 1)));
        }
        Ok(depth + 1)
    }

    fn object(&mut self, depth: usize) -> Result<Value, Raise> {
        let mut pairs = Vec::new();
        let mut token = self.next();
        if token == Token::ObjectEnd {
            return Ok(Value::Table(Table(pairs)));
        }
        loop {
            let Token::Text(key) = token else { return Err(self.expected("object key string", &token)) };
            let colon = self.next();
            if colon != Token::Colon {
                return Err(self.expected("colon", &colon));
            }
            let first = self.next();
            pairs.push((Value::Bytes(key), self.value(first, depth)?));
            match self.next() {
                Token::ObjectEnd => return Ok(Value::Table(Table(pairs))),
                Token::Comma => token = self.next(),
                other => return Err(self.expected("comma or object end", &other)),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Raise> {
        let mut elements = Vec::new();
        let mut token = self.next();
        if token == Token::ArrayEnd {
            return Ok(Value::Table(Table::default()));
        }
        loop {
            elements.push(self.value(token, depth)?);
            match self.next() {
                Token::ArrayEnd => return Ok(Value::array(elements)),
                Token::Comma => token = self.next(),
                other => return Err(self.expected("comma or array end", &other)),
            }
        }
    }
}

/// True for what `strtod` reads and JSON does not allow.
fn is_invalid_number(text: &[u8]) -> bool {
    let byte = |at: usize| text.get(at).copied().unwrap_or(0).to_ascii_lowercase();
    if byte(0) == b'+' {
        return true;
    }
    let start = usize::from(byte(0) == b'-');
    if byte(start) == b'0' {
        return byte(start + 1) == b'x' || byte(start + 1).is_ascii_digit();
    }
    if byte(start) <= b'9' {
        return false;
    }
    let word = [byte(start), byte(start + 1), byte(start + 2)];
    &word == b"inf" || &word == b"nan"
}

fn number_length(text: &[u8]) -> usize {
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    let digits = |from: usize, hexadecimal: bool| {
        let is_digit = |byte: &&u8| if hexadecimal { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
        text.get(from..).unwrap_or_default().iter().take_while(is_digit).count()
    };
    let start = usize::from(matches!(byte(0), b'-' | b'+'));
    let word =
        |name: &str| text.get(start..start + name.len()).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    for name in ["infinity", "inf", "nan"] {
        if word(name) {
            return start + name.len();
        }
    }
    let hexadecimal =
        byte(start) == b'0' && matches!(byte(start + 1), b'x' | b'X') && byte(start + 2).is_ascii_hexdigit();
    let mut at = if hexadecimal { start + 2 } else { start };
    let whole = digits(at, hexadecimal);
    at += whole;
    let mut fraction = 0;
    if byte(at) == b'.' {
        fraction = digits(at + 1, hexadecimal);
        if whole + fraction > 0 {
            at += 1 + fraction;
        }
    }
    if whole + fraction == 0 {
        return 0;
    }
    let exponent_letter = if hexadecimal { b'p' } else { b'e' };
    if byte(at).to_ascii_lowercase() == exponent_letter {
        let sign = usize::from(matches!(byte(at + 1), b'-' | b'+'));
        let exponent = digits(at + 1 + sign, false);
        if exponent > 0 {
            at += 1 + sign + exponent;
        }
    }
    at
}
