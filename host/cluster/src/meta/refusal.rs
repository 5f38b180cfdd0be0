//! Why a command changed nothing.

/// What kind of reason it is; whoever answers operators and programs decides by it, not by the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RefusalKind {
    /// What the command names is not there.
    NotFound = 1,
    /// It does not fit the state as it is, and may fit a later one.
    Conflict = 2,
    /// It fits no state.
    Invalid = 3,
    /// It would put a keyspace where its rule does not allow it. Only clusters that have such rules, at feature level 2, answer it.
    Forbidden = 4,
}

impl RefusalKind {
    /// The kind that is written as this byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::NotFound, Self::Conflict, Self::Invalid, Self::Forbidden].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of reason it is.
    pub kind: RefusalKind,
    /// The reason, for people, and what they can do.
    pub message: String,
}

impl Refusal {
    /// What the command names is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Refusal { kind: RefusalKind::NotFound, message: message.into() }
    }

    /// The command does not fit the state as it is.
    pub fn conflict(message: impl Into<String>) -> Self {
        Refusal { kind: RefusalKind::Conflict, message: message.into() }
    }

    /// A keyspace's rule does not allow what the command asks for.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Refusal { kind: RefusalKind::Forbidden, message: message.into() }
    }

    /// The command fits no state.
    pub fn invalid(message: impl Into<String>) -> Self {
        Refusal { kind: RefusalKind::Invalid, message: message.into() }
    }
}
