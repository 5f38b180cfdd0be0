//! Lists, which requests and answers are made of, and why a command was refused.
//!
//! ```text
//! item   = length (u32, big endian), bytes
//! list   = item*
//! answer = status (u8), list
//! ```

use recoil_sdk::{CallError, Error, StorageError};

/// Items in their order.
pub(crate) type List = Vec<Vec<u8>>;

/// The bytes of a list.
pub(crate) fn encode<I: AsRef<[u8]>>(items: &[I]) -> Vec<u8> {
    let bytes = items.iter().map(|item| 4 + item.as_ref().len()).sum();
    let mut list = Vec::with_capacity(bytes);
    append(&mut list, items);
    list
}

/// The items of a list.
pub(crate) fn decode(mut list: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    let mut items = Vec::new();
    while !list.is_empty() {
        let (length, rest) =
            list.split_first_chunk().ok_or_else(|| Refusal::invalid("a length of fewer than 4 bytes"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let (item, rest) = rest.split_at_checked(length).ok_or_else(|| Refusal::invalid("an item that ends early"))?;
        items.push(item);
        list = rest;
    }
    Ok(items)
}

/// The bytes of an answer.
pub(crate) fn answer(result: &Result<List, Refusal>) -> Vec<u8> {
    match result {
        Ok(items) => status(0, items),
        Err(Refusal { kind, text }) => status(1, &[kind.as_bytes(), text.as_bytes()]),
    }
}

/// The bytes of what a call of a handler came to: its own answer, or why there is none.
pub(crate) fn routed_answer(result: Result<Vec<u8>, CallError>) -> Vec<u8> {
    match result {
        Ok(list) => [&[0], &list[..]].concat(),
        Err(error) => answer(&Err(error.into())),
    }
}

/// An option: empty for none, else `+` and the value.
pub(crate) fn option(value: Option<&[u8]>) -> Vec<u8> {
    value.map(|value| [b"+", value].concat()).unwrap_or_default()
}

/// A list of nothing, or of the value.
pub(crate) fn optional(value: Option<Vec<u8>>) -> List {
    value.into_iter().collect()
}

/// A list of one text.
pub(crate) fn one(text: impl ToString) -> List {
    vec![text.to_string().into_bytes()]
}

fn status<I: AsRef<[u8]>>(status: u8, items: &[I]) -> Vec<u8> {
    let mut answer = vec![status];
    append(&mut answer, items);
    answer
}

fn append<I: AsRef<[u8]>>(list: &mut Vec<u8>, items: &[I]) {
    for item in items {
        let item = item.as_ref();
        // What a component can hold has a length of 32 bits.
        list.extend_from_slice(&(item.len() as u32).to_be_bytes());
        list.extend_from_slice(item);
    }
}

/// Why a command has no answer: a kind that programs look at, and a text for people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: &'static str,
    pub(crate) text: String,
}

impl Refusal {
    /// The request is not one.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Refusal { kind: "invalid", text: text.into() }
    }

    /// The host could not, for now.
    pub(crate) fn unavailable(text: impl Into<String>) -> Self {
        Refusal { kind: "unavailable", text: text.into() }
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        let (kind, text) = match error {
            StorageError::TooLarge(text) => ("too-large", text),
            StorageError::ReadOnly => ("read-only", String::new()),
            StorageError::QuotaExceeded(text) => ("quota-exceeded", text),
            StorageError::Unavailable(text) => ("unavailable", text),
        };
        Refusal { kind, text }
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        let (kind, text) = match error {
            CallError::Rejected(text) => ("rejected", text),
            CallError::Failed(text) => ("failed", text),
            CallError::UnknownOutcome(text) => ("unknown-outcome", text),
            CallError::Unavailable(text) => ("unavailable", text),
            CallError::Conflict => ("conflict", String::new()),
        };
        Refusal { kind, text }
    }
}

/// What a handler's caller is told.
impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::new(format!("{}: {}", refusal.kind, refusal.text))
    }
}

/// A key and what belongs to it.
pub(crate) type Pair<'a> = (&'a [u8], &'a [u8]);

/// A request's items, taken one after another.
pub(crate) struct Arguments<'a> {
    items: std::vec::IntoIter<&'a [u8]>,
}

impl<'a> Arguments<'a> {
    /// The command, and its arguments.
    pub(crate) fn of(request: &'a [u8]) -> Result<(&'a str, Self), Refusal> {
        let mut arguments = Arguments { items: decode(request)?.into_iter() };
        Ok((arguments.text()?, arguments))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Refusal> {
        self.items.next().ok_or_else(|| Refusal::invalid("too few arguments"))
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Refusal> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Refusal::invalid("a text that is not UTF-8"))
    }

    /// A number or a truth.
    pub(crate) fn parsed<T: std::str::FromStr>(&mut self) -> Result<T, Refusal> {
        let text = self.text()?;
        text.parse().map_err(|_| Refusal::invalid(format!("'{text}' is no {}", std::any::type_name::<T>())))
    }

    pub(crate) fn option(&mut self) -> Result<Option<&'a [u8]>, Refusal> {
        match self.bytes()? {
            [] => Ok(None),
            [b'+', value @ ..] => Ok(Some(value)),
            _ => Err(Refusal::invalid("an option is empty or begins with +")),
        }
    }

    /// All that are left.
    pub(crate) fn rest(&mut self) -> impl Iterator<Item = &'a [u8]> {
        self.items.by_ref()
    }

    /// All that are left, two by two.
    pub(crate) fn pairs(&mut self) -> Result<Vec<Pair<'a>>, Refusal> {
        let mut pairs = Vec::with_capacity(self.items.len() / 2);
        while let Some(first) = self.items.next() {
            pairs.push((first, self.bytes()?));
        }
        Ok(pairs)
    }
}

/// What a command that is not known here is answered.
pub(crate) fn unknown(command: &str) -> Refusal {
    Refusal::invalid(format!("there is no command '{command}' here"))
}
