//! What a listener sends to a handler, and what comes back when that is not for the client's eyes.
//!
//! A request is one byte for the operation, one of flags, and arguments, each behind its length. Both ends are the same
//! component, but for a moment while a new version takes over; hence operations have fixed numbers that are never used
//! again, and a handler refuses those it does not know. Invariant: a plain command costs two bytes and a length for each
//! argument; nothing is parsed twice.
//!
//! The answer is the reply for the client, in the protocol version that the flags ask for, except for [`ASK_ALONE`] and
//! for the operations marked internal, whose answers the listener reads itself.

use recoil_sdk::encoding::{DecodeError, Reader, push_bytes, push_count};

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What to do on a partition.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Op { $($(#[$doc])* $name = $number,)* }

        impl Op {
            fn from_number(number: u8) -> Option<Op> {
                match number {
                    $($number => Some(Op::$name),)*
                    _ => None,
                }
            }
        }
    };
}

operations! {
    Get = 1,
    Set = 2,
    SetNx = 3,
    SetEx = 4,
    PSetEx = 5,
    GetSet = 6,
    GetDel = 7,
    GetEx = 8,
    Append = 9,
    StrLen = 10,
    SetRange = 11,
    GetRange = 12,
    Incr = 13,
    Decr = 14,
    IncrBy = 15,
    DecrBy = 16,
    IncrByFloat = 17,
    /// Like `Get`, but a value of another type is absent: one key of MGET.
    GetOrNull = 18,
    /// The pairs of an MSET that belong to this partition.
    MSet = 19,
    /// MSETNX with all its keys on this partition.
    MSetNx = 20,

    Del = 40,
    Exists = 41,
    Touch = 42,
    Type = 43,
    Expire = 44,
    PExpire = 45,
    ExpireAt = 46,
    PExpireAt = 47,
    Ttl = 48,
    PTtl = 49,
    ExpireTime = 50,
    PExpireTime = 51,
    Persist = 52,
    Object = 53,
    /// RENAME, RENAMENX and COPY with both keys on this partition.
    Rename = 54,
    RenameNx = 55,
    Copy = 56,

    XAdd = 60,
    XLen = 61,
    XRange = 62,
    XRevRange = 63,
    XDel = 64,
    XTrim = 65,
    XSetId = 66,
    XGroup = 67,
    XAck = 68,
    XPending = 69,
    XClaim = 70,
    XAutoClaim = 71,
    XInfo = 72,

    /// Internal: keys from a hash position on. See [`crate::walks`].
    Walk = 80,
    /// Internal: how many keys from a hash position on.
    Count = 81,
    /// Internal: the first key from a hash position on, or around it.
    Random = 82,
    /// Remove everything.
    Flush = 83,
    /// Internal: the version of a key, 0 when absent, for WATCH.
    Version = 84,
    /// Internal: a key's whole row, for moving it to another partition.
    Dump = 85,
    /// Internal: put such a row under a key.
    Restore = 86,
    /// Internal: conditions and commands, all or nothing.
    Batch = 87,
    Publish = 88,
    Sort = 89,
    SortRo = 90,
    /// DUMP and RESTORE, whose payloads are Redis'.
    DumpPayload = 91,
    RestorePayload = 92,
    /// Internal: somebody listens to patterns. See [`crate::pubsub`].
    Patterns = 93,
    SPublish = 94,

    HDel = 100,
    HExists = 101,
    HGet = 102,
    HGetAll = 103,
    HIncrBy = 104,
    HIncrByFloat = 105,
    HKeys = 106,
    HLen = 107,
    HMGet = 108,
    HMSet = 109,
    HRandField = 110,
    HScan = 111,
    HSet = 112,
    HSetNx = 113,
    HStrLen = 114,
    HVals = 115,

    SAdd = 120,
    SCard = 121,
    SDiff = 122,
    SDiffStore = 123,
    SInter = 124,
    SInterCard = 125,
    SInterStore = 126,
    SIsMember = 127,
    SMembers = 128,
    SMIsMember = 129,
    SMove = 130,
    SPop = 131,
    SRandMember = 132,
    SRem = 133,
    SScan = 134,
    SUnion = 135,
    SUnionStore = 136,

    LIndex = 140,
    LInsert = 141,
    LLen = 142,
    LMove = 143,
    LMPop = 144,
    LPop = 145,
    LPos = 146,
    LPush = 147,
    LPushX = 148,
    LRange = 149,
    LRem = 150,
    LSet = 151,
    LTrim = 152,
    RPop = 153,
    RPopLPush = 154,
    RPush = 155,
    RPushX = 156,

    ZAdd = 160,
    ZCard = 161,
    ZCount = 162,
    ZDiff = 163,
    ZDiffStore = 164,
    ZIncrBy = 165,
    ZInter = 166,
    ZInterCard = 167,
    ZInterStore = 168,
    ZLexCount = 169,
    ZMPop = 170,
    ZMScore = 171,
    ZPopMax = 172,
    ZPopMin = 173,
    ZRandMember = 174,
    ZRange = 175,
    ZRangeByLex = 176,
    ZRangeByScore = 177,
    ZRangeStore = 178,
    ZRank = 179,
    ZRem = 180,
    ZRemRangeByLex = 181,
    ZRemRangeByRank = 182,
    ZRemRangeByScore = 183,
    ZRevRange = 184,
    ZRevRangeByLex = 185,
    ZRevRangeByScore = 186,
    ZRevRank = 187,
    ZScan = 188,
    ZScore = 189,
    ZUnion = 190,
    ZUnionStore = 191,

    BitCount = 195,
    BitField = 196,
    BitFieldRo = 197,
    BitCombine = 198,
    BitPos = 199,
    GetBit = 200,
    SetBit = 201,
    Lcs = 202,

    PfAdd = 205,
    PfCount = 206,
    PfMerge = 207,

    GeoAdd = 210,
    GeoDist = 211,
    GeoHash = 212,
    GeoPos = 213,
    GeoRadius = 214,
    GeoRadiusRo = 215,
    GeoRadiusByMember = 216,
    GeoRadiusByMemberRo = 217,
    GeoSearch = 218,
    GeoSearchStore = 219,

    Memory = 225,

    /// Internal: a blocking command, or its next attempt. See [`crate::blocking`].
    Block = 230,
    /// Internal: a blocking command has ended.
    Unblock = 231,

    /// A script by its text. See [`crate::scripts`], as for those below.
    Eval = 240,
    /// A script by its digest.
    EvalSha = 241,
    /// Internal: the texts of scripts.
    Script = 242,
    FCall = 243,
    /// Internal: the libraries of functions.
    Library = 244,
    /// Internal: a list of hash tags that are of this partition, and a request whose scripts may touch their keys.
    Approved = 245,
}

impl Op {
    /// True for operations on collections, bitmaps and the like, on streams, and SORT and DUMP.
    pub(crate) fn is_on_collections(self) -> bool {
        let number = self as u8;
        number >= Op::HDel as u8
            || (Op::XAdd as u8..=Op::XInfo as u8).contains(&number)
            || (Op::Sort as u8..=Op::RestorePayload as u8).contains(&number)
    }
}

/// Flag: the client speaks RESP3.
const FLAG_RESP3: u8 = 1;
/// Flag: a reply above [`BOUNDED_REPLY_BYTES_MAX`] must not be sent; [`ASK_ALONE`] takes its place.
const FLAG_BOUNDED: u8 = 2;

/// The largest reply to a request that is bounded. It keeps the answers to a whole pipeline of reads within memory.
pub(crate) const BOUNDED_REPLY_BYTES_MAX: usize = 16 << 10;

/// The answer to a bounded read whose reply is larger: the listener asks for it again, alone. No reply begins with it.
pub(crate) const ASK_ALONE: u8 = 0;

/// What a batch is rejected with when a key has another version than it should. `WATCH` and `EXEC` live by it.
pub(crate) const REJECTED_CHANGED: &str = "CHANGED";
/// What a batch is rejected with when a key exists that should not.
pub(crate) const REJECTED_EXISTS: &str = "EXISTS";

/// The start of a request; arguments follow by [`push_bytes`].
pub(crate) fn begin(op: Op, resp3: bool, bounded: bool, capacity: usize) -> Vec<u8> {
    let mut request = Vec::with_capacity(capacity + 2);
    request.push(op as u8);
    request.push(if resp3 { FLAG_RESP3 } else { 0 } | if bounded { FLAG_BOUNDED } else { 0 });
    request
}

/// Take the bound off a request's reply.
pub(crate) fn unbound(request: &mut [u8]) {
    if let Some(flags) = request.get_mut(1) {
        *flags &= !FLAG_BOUNDED;
    }
}

/// A whole request.
pub(crate) fn encode<'a>(op: Op, resp3: bool, arguments: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut request = begin(op, resp3, false, 64);
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
    pub(crate) arguments: Arguments<'a>,
}

impl<'a> Request<'a> {
    pub(crate) fn decode(input: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        let number = reader.u8()?;
        let op = Op::from_number(number).ok_or_else(|| reader.error("an operation that this version does not know"))?;
        let flags = reader.u8()?;
        Ok(Request {
            op,
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

/// Append conditions and commands to a request of [`Op::Batch`].
pub(crate) fn encode_batch<C, R>(conditions: &[(C, u64)], requests: &[R]) -> Vec<u8>
where
    C: AsRef<[u8]>,
    R: AsRef<[u8]>,
{
    let mut batch = begin(Op::Batch, false, false, 64);
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
        let encoded = encode(Op::Set, true, [&b"key"[..], b"", &[7; 300]]);
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

    #[test]
    fn a_batch_survives() {
        let encoded = encode_batch(&[(b"a", 0), (b"b", u64::MAX)], &[encode(Op::Get, false, [&b"a"[..]])]);
        let mut request = Request::decode(&encoded).unwrap();
        let conditions = decode_conditions(&mut request.arguments).unwrap();
        assert_eq!(
            conditions.iter().map(|c| (c.key, c.version)).collect::<Vec<_>>(),
            [(&b"a"[..], 0), (b"b", u64::MAX)]
        );
        assert_eq!(Request::decode(request.arguments.required().unwrap()).unwrap().op, Op::Get);
    }
}
