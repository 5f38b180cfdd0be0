//! The commands of streams, and what of their replies is not compared.

use super::Reply;

/// Groups are `g` and `h`, consumers `a` and `b`. What removes roughly depends on Redis' blocks, and is left out.
pub(super) const STREAM: &[&str] = &[
    "XADD K 7-* E V",
    "XADD K 7-* E V E V",
    "XADD K 7-* E V",
    "XADD K NOMKSTREAM 7-* E V",
    "XADD K MAXLEN N 7-* E V",
    "XADD K MAXLEN = 30 7-* E V",
    "XADD K MINID D 7-* E V",
    "XADD K MINID = D LIMIT 5 7-* E V",
    "XADD K D E V",
    "XADD K D E",
    "XADD Y 7-* E V",
    "XLEN K",
    "XLEN Y",
    "XRANGE K - + COUNT N",
    "XRANGE K P P",
    "XRANGE K P + COUNT 5",
    "XREVRANGE K P P",
    "XREVRANGE K + - COUNT N",
    "XDEL K D D D",
    "XDEL K D",
    "XTRIM K MAXLEN I",
    "XTRIM K MAXLEN = 20",
    "XTRIM K MINID D",
    "XTRIM K BOGUS N",
    "XSETID K 8-0 ENTRIESADDED N",
    "XSETID K 7-900 ENTRIESADDED 1000 MAXDELETEDID D",
    "XREAD COUNT N STREAMS K D",
    "XREAD COUNT 3 STREAMS K K D D",
    "XREAD STREAMS K $",
    "XREAD STREAMS Y 0",
    "XGROUP CREATE K g 0 MKSTREAM",
    "XGROUP CREATE K g D",
    "XGROUP CREATE K h $ MKSTREAM ENTRIESREAD N",
    "XGROUP CREATE K h D ENTRIESREAD",
    "XGROUP CREATE Y g $ MKSTREAM",
    "XGROUP SETID K g D",
    "XGROUP SETID K h $ ENTRIESREAD N",
    "XGROUP DELCONSUMER K g b",
    "XGROUP DESTROY K h",
    "XREADGROUP GROUP g a COUNT 3 STREAMS K >",
    "XREADGROUP GROUP g b COUNT 2 STREAMS K >",
    "XREADGROUP GROUP h a COUNT 5 STREAMS K >",
    "XREADGROUP GROUP h b COUNT 1 NOACK STREAMS K >",
    "XREADGROUP GROUP g a COUNT 2 STREAMS K K > >",
    "XREADGROUP GROUP g a COUNT 2 STREAMS K 0",
    "XREADGROUP GROUP g b STREAMS K D",
    "XREADGROUP GROUP g a COUNT 1 BLOCK 1 STREAMS K 0",
    "XACK K g D D D D",
    "XACK K h D D",
    "XPENDING K g",
    "XPENDING K h",
    "XPENDING K g - + 10",
    "XPENDING K g P P N",
    "XPENDING K g - + 10 a",
    "XPENDING K g IDLE 0 - + N b",
    "XCLAIM K g a 0 D D D",
    "XCLAIM K g b 0 D D JUSTID",
    "XCLAIM K g b 0 D D FORCE RETRYCOUNT N",
    "XCLAIM K h a 0 D FORCE LASTID D",
    "XCLAIM K g a 1000000 D D",
    "XCLAIM K g a 0 D BOGUS",
    "XAUTOCLAIM K g a 0 P COUNT N",
    "XAUTOCLAIM K g b 0 0 COUNT 3 JUSTID",
    "XAUTOCLAIM K h b 0 0",
    "XINFO STREAM K",
    "XINFO GROUPS K",
    "XINFO STREAM Y",
    "XINFO CONSUMERS K nogroup",
    "XINFO GROUPS K extra",
    "DEL K",
    "RENAME K K",
    "COPY K K REPLACE",
    "TYPE K",
    "OBJECT ENCODING K",
    "EXPIRE K 100",
];

/// A reply without what depends on the moment, on Redis' memory, or on its version: 7.2 makes a consumer that finds nothing.
pub(super) fn comparable(command: &str, reply: Reply) -> Reply {
    let Reply::Many(kind, replies) = reply else { return reply };
    let hidden = || Reply::Line("hidden".to_owned());
    if command == "XPENDING" && replies.len() == 4 && matches!(&replies[2], Reply::Line(_)) {
        let mut replies = replies;
        replies[2] = hidden();
        return Reply::Many(kind, replies);
    }
    let mut hide = false;
    let replies = replies.into_iter().map(|reply| {
        if std::mem::take(&mut hide) {
            return hidden();
        }
        hide = command == "XINFO"
            && matches!(&reply, Reply::Bulk(name) if name.starts_with(b"radix-tree") || name == b"consumers");
        comparable(command, reply)
    });
    Reply::Many(kind, replies.collect())
}
