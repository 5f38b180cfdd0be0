//! What a partition can be asked to do. The numbers are part of what nodes of different versions say to each other.

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What to do on a partition.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Op { $($(#[$doc])* $name = $number,)* }

        impl Op {
            pub(super) fn from_number(number: u8) -> Option<Op> {
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

    /// Internal: within a batch, a key that must have a version, or the batch is rejected.
    Expect = 30,
    /// Exchange two databases on this partition.
    Swap = 31,
    /// Internal: how keys find this partition, and whether it has some.
    Routing = 32,
    /// Internal: let keys find this partition by another rule, if it has none.
    SetRouting = 33,
    /// MOVE.
    Move = 34,
    /// Remove the keys of one database.
    FlushDatabase = 35,
    /// Internal: how many keys each database has.
    CountDatabases = 36,
    /// Internal: the operation of a request that says where its keys are. See [`Scope`].
    Scoped = 37,

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
    /// Remove the keys of all databases.
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
