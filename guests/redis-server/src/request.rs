//! What a listener sends to a handler, and what comes back when that is not for the client's eyes.
//!
//! A request is one byte for the operation, one of flags, and arguments, each behind its length. Both ends are the same
//! component, but for a moment while a new version takes over; hence operations have fixed numbers that are never used
//! again, and a handler refuses those it does not know. Invariant: a plain command costs two bytes and a length for each
//! argument; nothing is parsed twice.
//!
//! A request about keys of another database than 0, or on a partition that was not found by a key, is wrapped: the operation
//! [`Op::Scoped`], the flags, one byte for database and routing, and the operation itself with its arguments. An older
//! handler refuses such a request as unknown.
//!
//! The answer is the reply for the client, in the protocol version that the flags ask for, except for [`ASK_ALONE`] and
//! for the operations marked internal, whose answers the listener reads itself.

use recoil_sdk::encoding::{DecodeError, Reader, push_bytes, push_count};

mod op;

pub(crate) use self::op::Op;
use crate::keyspace::databases::DATABASES;

/// Flag: the client speaks RESP3.
const FLAG_RESP3: u8 = 1;
/// Flag: a reply above [`BOUNDED_REPLY_BYTES_MAX`] must not be sent; [`ASK_ALONE`] takes its place.
const FLAG_BOUNDED: u8 = 2;

/// The largest reply to a request that is bounded. It keeps the answers to a whole pipeline of reads within memory.
pub(crate) const BOUNDED_REPLY_BYTES_MAX: usize = 16 << 10;

/// The answer to a bounded read whose reply is larger: the listener asks for it again, alone. No reply begins with it.
pub(crate) const ASK_ALONE: u8 = 0;

/// What a bounded write is rejected with whose reply is larger: the listener sends it again, alone.
pub(crate) const REJECTED_ALONE: &str = "ALONE";
/// What a batch is rejected with when a key has another version than it should. `WATCH` and `EXEC` live by it.
pub(crate) const REJECTED_CHANGED: &str = "CHANGED";
/// What a batch is rejected with when a key exists that should not.
pub(crate) const REJECTED_EXISTS: &str = "EXISTS";

/// How keys find their partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum Routing {
    /// By the hash tag of the key.
    #[default]
    Key = 0,
    /// All keys of a database are on one partition.
    Database = 1,
}

impl Routing {
    /// As the setting has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Routing::Key => "key",
            Routing::Database => "database",
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [Routing::Key, Routing::Database].into_iter().find(|routing| *routing as u8 == number)
    }
}

/// Whose keys a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Scope {
    pub(crate) database: u8,
    /// By what the partition was found.
    pub(crate) routing: Routing,
}

/// Bit of a scope's byte: routing is by database.
const SCOPE_BY_DATABASE: u8 = 0x80;

impl Scope {
    fn to_byte(self) -> u8 {
        self.database | if self.routing == Routing::Database { SCOPE_BY_DATABASE } else { 0 }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        let routing = if byte & SCOPE_BY_DATABASE == 0 { Routing::Key } else { Routing::Database };
        let database = byte & !SCOPE_BY_DATABASE;
        (database < DATABASES).then_some(Scope { database, routing })
    }
}

/// What the requests of one command have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Style {
    /// The client speaks RESP3.
    pub(crate) resp3: bool,
    pub(crate) scope: Scope,
}

impl Style {
    /// Of requests whose answers the listener reads itself and that are not about keys.
    pub(crate) const INTERNAL: Style = Style { resp3: false, scope: Scope { database: 0, routing: Routing::Key } };

    /// The same keys, for an answer that the listener reads itself.
    pub(crate) fn internal(self) -> Self {
        Style { resp3: false, ..self }
    }
}

/// The start of a request; arguments follow by [`push_bytes`].
pub(crate) fn begin(op: Op, style: Style, bounded: bool, capacity: usize) -> Vec<u8> {
    let mut request = Vec::with_capacity(capacity + 4);
    let flags = if style.resp3 { FLAG_RESP3 } else { 0 } | if bounded { FLAG_BOUNDED } else { 0 };
    if style.scope == Scope::default() {
        request.extend_from_slice(&[op as u8, flags]);
    } else {
        request.extend_from_slice(&[Op::Scoped as u8, flags, style.scope.to_byte(), op as u8]);
    }
    request
}

/// Whose keys a request is about.
pub(crate) fn scope_of(request: &[u8]) -> Scope {
    match request {
        [op, _, scope, ..] if *op == Op::Scoped as u8 => Scope::from_byte(*scope).unwrap_or_default(),
        _ => Scope::default(),
    }
}

/// The same request for another scope; what is not a request stays as it is.
pub(crate) fn rescoped(request: &[u8], scope: Scope) -> Vec<u8> {
    let (op, flags, rest) = match request {
        [op, flags, _, inner, rest @ ..] if *op == Op::Scoped as u8 => (*inner, *flags, rest),
        [op, flags, rest @ ..] => (*op, *flags, rest),
        other => return other.to_vec(),
    };
    let head = match scope == Scope::default() {
        true => vec![op, flags],
        false => vec![Op::Scoped as u8, flags, scope.to_byte(), op],
    };
    [&head[..], rest].concat()
}

/// Bound a request's reply.
pub(crate) fn bound(request: &mut [u8]) {
    if let Some(flags) = request.get_mut(1) {
        *flags |= FLAG_BOUNDED;
    }
}

/// Take the bound off a request's reply.
pub(crate) fn unbound(request: &mut [u8]) {
    if let Some(flags) = request.get_mut(1) {
        *flags &= !FLAG_BOUNDED;
    }
}

/// A whole request.
pub(crate) fn encode<'a>(op: Op, style: Style, arguments: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut request = begin(op, style, false, 64);
    for argument in arguments {
        push_bytes(&mut request, argument);
    }
    request
}

/// A request, taken apart.
pub(crate) struct Request<'a> {
    pub(crate) op: Op,
    pub(crate) resp3: bool,
    pub(crate) bounded: bool,
    pub(crate) scope: Scope,
    pub(crate) arguments: Arguments<'a>,
}

impl<'a> Request<'a> {
    pub(crate) fn decode(input: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        let (mut number, flags) = (reader.u8()?, reader.u8()?);
        let mut scope = Scope::default();
        if number == Op::Scoped as u8 {
            scope = Scope::from_byte(reader.u8()?).ok_or_else(|| reader.error("there are 16 databases"))?;
            number = reader.u8()?;
        }
        let op = Op::from_number(number).ok_or_else(|| reader.error("an operation that this version does not know"))?;
        Ok(Request {
            op,
            scope,
            resp3: flags & FLAG_RESP3 != 0,
            bounded: flags & FLAG_BOUNDED != 0,
            arguments: Arguments(reader),
        })
    }
}

/// The arguments of a request that have not been taken yet.
pub(crate) struct Arguments<'a>(Reader<'a>);

impl<'a> Arguments<'a> {
    /// The next argument, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        if self.0.remaining() == 0 { Ok(None) } else { self.0.bytes().map(Some) }
    }

    /// True if none is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.remaining() == 0
    }

    /// The next argument, which the arity of the command promises.
    pub(crate) fn required(&mut self) -> Result<&'a [u8], DecodeError> {
        self.0.bytes()
    }

    /// The next argument, a number that [`push_number`] wrote.
    pub(crate) fn number(&mut self) -> Result<u64, DecodeError> {
        let raw = self.0.bytes()?;
        raw.try_into().map(u64::from_le_bytes).map_err(|_| self.0.error("not a number"))
    }
}

/// Append a number as an argument.
pub(crate) fn push_number(request: &mut Vec<u8>, number: u64) {
    push_bytes(request, &number.to_le_bytes());
}

/// What a key must be for a batch to go ahead.
pub(crate) struct Condition<'a> {
    pub(crate) key: &'a [u8],
    /// 0: absent.
    pub(crate) version: u64,
}

/// Conditions and commands of one partition, that become a batch.
#[derive(Default)]
pub(crate) struct Batch {
    /// Of keys in database 0.
    conditions: Vec<(Vec<u8>, u64)>,
    /// Of others.
    expectations: Vec<Vec<u8>>,
    pub(crate) requests: Vec<Vec<u8>>,
}

impl Batch {
    /// The key must have this version.
    pub(crate) fn expect(&mut self, scope: Scope, key: &[u8], version: u64) {
        if scope == Scope::default() {
            self.conditions.push((key.to_vec(), version));
        } else {
            self.expectations.push(encode_expectation(scope, key, version));
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let requests: Vec<&Vec<u8>> = self.expectations.iter().chain(&self.requests).collect();
        encode_batch(&self.conditions, &requests)
    }
}

/// Append conditions and commands to a request of [`Op::Batch`]. The conditions are about database 0; see [`Op::Expect`].
pub(crate) fn encode_batch<C, R>(conditions: &[(C, u64)], requests: &[R]) -> Vec<u8>
where
    C: AsRef<[u8]>,
    R: AsRef<[u8]>,
{
    let mut batch = begin(Op::Batch, Style::INTERNAL, false, 64);
    push_count(&mut batch, conditions.len() as u64);
    for (key, version) in conditions {
        push_bytes(&mut batch, key.as_ref());
        push_count(&mut batch, *version);
    }
    for request in requests {
        push_bytes(&mut batch, request.as_ref());
    }
    batch
}

/// The request of [`Op::Expect`].
fn encode_expectation(scope: Scope, key: &[u8], version: u64) -> Vec<u8> {
    encode(Op::Expect, Style { resp3: false, scope }, [key, &version.to_le_bytes()])
}

/// The conditions of a batch; its requests are the arguments that are left.
pub(crate) fn decode_conditions<'a>(arguments: &mut Arguments<'a>) -> Result<Vec<Condition<'a>>, DecodeError> {
    let count = arguments.0.count()?;
    let mut conditions = Vec::new();
    for _ in 0..count {
        conditions.push(Condition { key: arguments.0.bytes()?, version: arguments.0.count()? });
    }
    Ok(conditions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_and_damage_is_an_error() {
        let encoded = encode(Op::Set, Style { resp3: true, ..Style::INTERNAL }, [&b"key"[..], b"", &[7; 300]]);
        let mut request = Request::decode(&encoded).unwrap();
        assert_eq!((request.op, request.resp3, request.bounded), (Op::Set, true, false));
        assert_eq!(request.arguments.required(), Ok(&b"key"[..]));
        assert_eq!(request.arguments.next(), Ok(Some(&b""[..])));
        assert_eq!(request.arguments.next(), Ok(Some(&[7; 300][..])));
        assert_eq!(request.arguments.next(), Ok(None));
        assert!(Request::decode(&[]).is_err());
        assert!(Request::decode(&[255, 0]).is_err());
        let mut cut = Request::decode(&encoded[..encoded.len() - 1]).unwrap();
        cut.arguments.required().unwrap();
        cut.arguments.required().unwrap();
        assert!(cut.arguments.next().is_err());
    }

    /// Fails if a request reaches another database or another routing than its sender meant.
    #[test]
    fn a_scope_survives_and_costs_database_0_nothing() {
        let plain = encode(Op::Get, Style::INTERNAL, [&b"key"[..]]);
        assert_eq!(plain, b"\x01\x00\x03key");
        for (database, routing) in [(1, Routing::Key), (15, Routing::Database), (0, Routing::Database)] {
            let scope = Scope { database, routing };
            let scoped = encode(Op::Get, Style { resp3: true, scope }, [&b"key"[..]]);
            let mut request = Request::decode(&scoped).unwrap();
            assert_eq!((request.op, request.resp3, request.scope), (Op::Get, true, scope));
            assert_eq!(request.arguments.required(), Ok(&b"key"[..]));
            let moved = rescoped(&plain, scope);
            assert_eq!(Request::decode(&moved).unwrap().scope, scope);
            assert_eq!(rescoped(&moved, Scope::default()), plain);
        }
        assert!(Request::decode(&[Op::Scoped as u8, 0, 16, Op::Get as u8]).is_err());
        assert!(
            Request::decode(&[Op::Scoped as u8, 0, 0, Op::Scoped as u8]).is_ok_and(|request| request.op == Op::Scoped)
        );
    }

    #[test]
    fn a_batch_survives() {
        let encoded = encode_batch(&[(b"a", 0), (b"b", u64::MAX)], &[encode(Op::Get, Style::INTERNAL, [&b"a"[..]])]);
        let mut request = Request::decode(&encoded).unwrap();
        let conditions = decode_conditions(&mut request.arguments).unwrap();
        assert_eq!(
            conditions.iter().map(|c| (c.key, c.version)).collect::<Vec<_>>(),
            [(&b"a"[..], 0), (b"b", u64::MAX)]
        );
        assert_eq!(Request::decode(request.arguments.required().unwrap()).unwrap().op, Op::Get);
    }
}
