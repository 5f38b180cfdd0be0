//! Requests and answers as `PROTOCOL.md` has them, seen from the client.

use std::fmt;

/// Bytes of an item that are shown to people.
const SHOWN_BYTES_MAX: usize = 80;
/// Items of a list that are shown to people.
const SHOWN_ITEMS_MAX: usize = 12;

/// The bytes of a list.
pub fn list<I: AsRef<[u8]>>(items: &[I]) -> Vec<u8> {
    let mut list = Vec::with_capacity(items.iter().map(|item| 4 + item.as_ref().len()).sum());
    for item in items {
        let item = item.as_ref();
        list.extend_from_slice(&u32::try_from(item.len()).expect("an item of a test is small").to_be_bytes());
        list.extend_from_slice(item);
    }
    list
}

/// The items of a list.
pub fn items(mut list: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut items = Vec::new();
    while let Some((length, rest)) = list.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let wrong = || format!("an item of {length} bytes, of which {} are there", rest.len());
        let (item, rest) = rest.split_at_checked(length).ok_or_else(wrong)?;
        items.push(item.to_vec());
        list = rest;
    }
    if list.is_empty() { Ok(items) } else { Err(format!("{} bytes behind a list", list.len())) }
}

/// The bytes of a frame.
pub fn frame(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).expect("a frame of a test is small").to_be_bytes(), body].concat()
}

/// What a package answers.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// It did what was asked.
    Items(Vec<Vec<u8>>),
    /// It did not.
    Error {
        /// For programs.
        kind: String,
        /// For people.
        text: String,
    },
}

impl Answer {
    /// Reads an answer's bytes.
    pub fn of(bytes: &[u8]) -> Result<Self, String> {
        let (status, list) = bytes.split_first().ok_or("an answer without a status")?;
        let items = items(list)?;
        match (status, items.as_slice()) {
            (0, _) => Ok(Answer::Items(items)),
            (1, [kind, text]) => {
                let utf8 = |item: &[u8]| String::from_utf8(item.to_vec()).map_err(|error| error.to_string());
                Ok(Answer::Error { kind: utf8(kind)?, text: utf8(text)? })
            }
            (1, _) => Err(format!("an error of {} items", items.len())),
            (other, _) => Err(format!("an answer of status {other}")),
        }
    }

    /// Its items; what it says instead is the error.
    pub fn items(self) -> Result<Vec<Vec<u8>>, String> {
        match self {
            Answer::Items(items) => Ok(items),
            error @ Answer::Error { .. } => Err(error.to_string()),
        }
    }

    /// Its items as texts.
    pub fn texts(self) -> Result<Vec<String>, String> {
        self.items()?.into_iter().map(text).collect()
    }

    /// Its only item as a number.
    pub fn number(self) -> Result<u64, String> {
        match self.texts()?.as_slice() {
            [text] => text.parse().map_err(|_| format!("{text:?} is no number")),
            texts => Err(format!("{texts:?} is not one number")),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Items(items) => {
                write!(f, "=")?;
                items.iter().take(SHOWN_ITEMS_MAX).try_for_each(|item| write!(f, " {}", Shown(item)))?;
                if items.len() > SHOWN_ITEMS_MAX { write!(f, " … ({} items)", items.len()) } else { Ok(()) }
            }
            Answer::Error { kind, text } => write!(f, "! {kind} {}", Shown(text.as_bytes())),
        }
    }
}

/// Bytes as a script has them, cut.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = &self.0[..self.0.len().min(SHOWN_BYTES_MAX)];
        match std::str::from_utf8(head) {
            Ok(text) => write!(f, "{text:?}")?,
            Err(_) => write!(f, "\"{}\"", head.escape_ascii())?,
        }
        if head.len() < self.0.len() { write!(f, "… ({} bytes)", self.0.len()) } else { Ok(()) }
    }
}

/// An item as text.
pub(crate) fn text(item: Vec<u8>) -> Result<String, String> {
    String::from_utf8(item).map_err(|error| format!("{} is no text", Shown(error.as_bytes())))
}
