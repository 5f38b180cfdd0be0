//! Objects, small and large.

use super::*;
use crate::digest::{base64, md5};

const LARGE: usize = (512 << 10) * 19 + 1234;

#[test]
fn an_object_comes_out_as_it_went_in() {
    let store = Store::with("bucket");
    for (key, data) in [
        ("small", bytes(1024, 1)),
        ("empty", vec![]),
        ("inline", bytes(64 << 10, 2)),
        ("chunked", bytes((64 << 10) + 1, 3)),
        ("large", bytes(LARGE, 4)),
    ] {
        let etag = format!("\"{}\"", hex(&md5(&data)));
        let put = store
            .ask(
                ask("PUT", &format!("/bucket/{key}"), &data)
                    .header("content-type", "a/b")
                    .header("x-amz-meta-name", "value"),
            )
            .ok();
        assert_eq!(put.header("etag"), Some(etag.as_str()), "{key}");
        let got = store.send("GET", &format!("/bucket/{key}"), b"").ok();
        assert!(got.body == data, "{key}");
        let expected = [
            ("etag", etag.as_str()),
            ("content-type", "a/b"),
            ("x-amz-meta-name", "value"),
            ("accept-ranges", "bytes"),
        ];
        for (name, value) in expected {
            assert_eq!(got.header(name), Some(value), "{key}");
        }
        assert_eq!(got.header("content-length"), Some(data.len().to_string().as_str()));
        let head = store.send("HEAD", &format!("/bucket/{key}"), b"").ok();
        assert_eq!((head.body.len(), head.header("content-length")), (0, got.header("content-length")));
    }
    assert_eq!(store.rows(b'P'), 0, "no intent is left");
    let (keys, ..) = store.list("bucket", "");
    assert_eq!(keys, ["chunked", "empty", "inline", "large", "small"]);
}

#[test]
fn a_range_is_those_bytes() {
    let store = Store::with("bucket");
    let large = bytes(LARGE, 5);
    store.send("PUT", "/bucket/large", &large).ok();
    store.send("PUT", "/bucket/small", b"0123456789").ok();
    store.send("PUT", "/bucket/empty", b"").ok();
    let range = |key: &str, range: &str| store.ask(ask("GET", &format!("/bucket/{key}"), b"").header("range", range));
    for (from, to) in [(0, 0), (100, 524_287), (524_287, 524_288), (524_288, 1_048_575), (3_000_000, LARGE - 1)] {
        let part = range("large", &format!("bytes={from}-{to}")).ok();
        assert_eq!(
            (part.status, part.header("content-range")),
            (206, Some(format!("bytes {from}-{to}/{LARGE}").as_str()))
        );
        assert!(part.body == large[from..=to], "{from}-{to}");
    }
    assert!(range("large", "bytes=-1000").ok().body == large[LARGE - 1000..]);
    assert_eq!(range("small", "bytes=5-").ok().text(), "56789");
    assert_eq!(range("small", "bytes=8-99").ok().header("content-range"), Some("bytes 8-9/10"));
    assert_eq!(range("small", "bytes=10-").refused(416, "InvalidRange").header("content-range"), Some("bytes */10"));
    range("empty", "bytes=0-").refused(416, "InvalidRange");
    assert_eq!((range("small", "bytes=0-1,3-4").status, range("small", "nonsense").status), (200, 200));
    let changed = ask("GET", "/bucket/small", b"").header("range", "bytes=0-1").header("if-range", "\"other\"");
    assert_eq!(store.ask(changed).ok().text(), "0123456789", "the whole is right whatever has changed");
    let head = store.ask(ask("HEAD", "/bucket/small", b"").header("range", "bytes=2-4"));
    assert_eq!((head.status, head.header("content-length")), (206, Some("3")));
}

#[test]
fn conditions_decide() {
    let store = Store::with("bucket");
    let put = |header: (&str, &str), data: &[u8]| store.ask(ask("PUT", "/bucket/key", data).header(header.0, header.1));
    put(("if-match", "\"x\""), b"0").refused(404, "NoSuchKey");
    let etag = put(("if-none-match", "*"), b"1").ok().header("etag").unwrap().to_owned();
    put(("if-none-match", "*"), b"2").refused(412, "PreconditionFailed");
    put(("if-none-match", &etag), b"2").refused(412, "PreconditionFailed");
    put(("if-none-match", "\"a\""), b"1").ok();
    put(("if-match", "\"00000000000000000000000000000000\""), b"2").refused(412, "PreconditionFailed");
    put(("if-match", etag.trim_matches('"')), b"1").ok();
    put(("if-match", "*"), &bytes(100_000, 1)).ok();
    let got = store.send("GET", "/bucket/key", b"").ok();
    let etag = got.header("etag").unwrap().to_owned();
    let get = |name: &str, value: &str| store.ask(ask("GET", "/bucket/key", b"").header(name, value));
    let unchanged = get("if-none-match", &etag);
    assert_eq!((unchanged.status, unchanged.body.len(), unchanged.header("etag")), (304, 0, Some(etag.as_str())));
    get("if-match", "\"other\"").refused(412, "PreconditionFailed");
    get("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT").refused(412, "PreconditionFailed");
    assert_eq!(get("if-modified-since", "Sun, 06 Nov 2044 08:49:37 GMT").status, 304);
    let delete = |value: &str| store.ask(ask("DELETE", "/bucket/key", b"").header("if-match", value));
    delete("\"other\"").refused(412, "PreconditionFailed");
    delete(&etag).ok();
    delete(&etag).ok();
    store.send("DELETE", "/bucket/key", b"").ok();
}

#[test]
fn keys_stay_as_they_are_sent() {
    let store = Store::with("bucket");
    let keys = [
        "a b",
        "a+b",
        "a//b",
        "../x",
        "./y",
        "dir/",
        "e\u{301}",
        "\u{e9}",
        "100%",
        "a&b<c>\"d'",
        "\u{1}\u{1f}",
        "z".repeat(1024).leak(),
    ];
    for key in keys {
        let path = format!("/bucket/{}", encode(key, true));
        store.send("PUT", &path, key.as_bytes()).ok();
        assert_eq!(store.send("GET", &path, b"").ok().text(), key);
    }
    let (mut listed, ..) = store.list("bucket", "encoding-type=url");
    let mut expected: Vec<String> = keys.iter().map(|key| encode(key, true)).collect();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    let plain = store.send("GET", "/bucket?list-type=2", b"").ok();
    assert!(plain.elements("Key").contains(&"&#x1;&#x1F;".to_owned()), "{}", plain.text());
    store.send("PUT", &format!("/bucket/{}", "k".repeat(1025)), b"").refused(400, "KeyTooLongError");
    store.send("GET", "/bucket/%ff", b"").refused(400, "InvalidURI");
}

#[test]
fn what_a_client_says_of_a_body_is_compared() {
    let store = Store::with("bucket");
    let put = |name: &str, value: &str| store.ask(ask("PUT", "/bucket/key", b"text").header(name, value));
    put("content-md5", &base64(&md5(b"other"))).refused(400, "BadDigest");
    put("content-md5", "x").refused(400, "InvalidDigest");
    put("x-amz-checksum-crc32", "AAAAAA==").refused(400, "BadDigest");
    assert_eq!(store.rows(b'O'), 0);
    let stored = put("x-amz-checksum-crc32", "O++vKA==");
    if stored.status != 200 {
        let expected = base64(&crate::digest::Checksum::of(crate::digest::Algorithm::Crc32, b"text"));
        assert_eq!(put("x-amz-checksum-crc32", &expected).ok().header("x-amz-checksum-crc32"), Some(expected.as_str()));
    }
    let plain = store.send("GET", "/bucket/key", b"").ok();
    assert_eq!(plain.header("x-amz-checksum-crc32"), None);
    let got = store.ask(ask("GET", "/bucket/key", b"").header("x-amz-checksum-mode", "ENABLED")).ok();
    assert!(got.header("x-amz-checksum-crc32").is_some() && got.header("x-amz-checksum-type") == Some("FULL_OBJECT"));
    let mut short = ask("PUT", "/bucket/short", b"text");
    short.head.headers[1].1 = "5".to_owned();
    store.ask(short).refused(400, "IncompleteBody");
    let mut none = ask("PUT", "/bucket/none", b"text");
    none.head.headers.remove(1);
    store.ask(none).refused(411, "MissingContentLength");
    // A large one is given up, and what was stored of it becomes free.
    let mut large = ask("PUT", "/bucket/large", &bytes(700_000, 1));
    large.head.headers[1].1 = "700001".to_owned();
    store.ask(large).refused(400, "IncompleteBody");
    assert_eq!((store.rows(b'P'), store.rows(b'T')), (0, 1));
}

#[test]
fn the_bytes_of_what_was_removed_go_after_a_while() {
    let store = Store::with("bucket");
    set_setting("free-after-seconds", "60");
    store.send("PUT", "/bucket/key", &bytes(LARGE, 1)).ok();
    assert_eq!(store.rows(b'D'), 20);
    store.send("PUT", "/bucket/key", b"small").ok();
    store.send("PUT", "/bucket/other", b"small").ok();
    assert_eq!((store.rows(b'D'), store.rows(b'T')), (20, 1), "somebody may be reading it");
    store.pass(61);
    for n in 0..200 {
        store.send("PUT", &format!("/bucket/after-{n}"), b"").ok();
    }
    assert_eq!((store.rows(b'D'), store.rows(b'T'), store.rows(b'X')), (0, 0, 0));
    assert_eq!(store.send("GET", "/bucket/key", b"").ok().text(), "small");
}

/// An upload whose node died: its intent expires, and its bytes are freed.
#[test]
fn what_nobody_finished_expires() {
    let store = Store::with("bucket");
    set_setting("free-after-seconds", "60");
    store.send("PUT", "/bucket/key", &bytes(700_000, 1)).ok();
    let expired = |id: u32| {
        store.cluster.with_partition(id, |partition| {
            let rows: Vec<_> = partition
                .rows()
                .iter()
                .filter(|(key, _)| key[0] == b'D')
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            rows
        })
    };
    assert!((0..PARTITIONS).any(|id| !expired(id).is_empty()));
    // As if the commit had never come: an intent beside chunks that are there.
    let content = [7; 16];
    let bucket = store.rows(b'S');
    assert!(bucket > 0);
    let intent = crate::data::rows::Intent { key: "gone".into(), reserved: 1 << 20, expires_us: 0 };
    let row = crate::data::rows::encode(&intent).unwrap();
    store.cluster.with_partition(3, |partition| partition.insert(&crate::data::keys::intent(&content), &row));
    store.cluster.with_partition(3, |partition| {
        partition
            .in_transaction(|transaction| crate::handler::fire(transaction, &crate::data::keys::timer(), b""))
            .unwrap();
    });
    assert_eq!(store.rows(b'P'), 0);
    assert_eq!(store.rows(b'T'), 1);
}

#[test]
fn a_copy_is_an_object_of_its_own() {
    let store = Store::with("bucket");
    store.send("PUT", "/other", b"").ok();
    let data = bytes(1_500_000, 9);
    store.ask(ask("PUT", "/bucket/a%20b", &data).header("x-amz-meta-one", "1").header("content-type", "x/y")).ok();
    let copy = |target: &str, source: &str, more: &[(&str, &str)]| {
        let copying = ask("PUT", target, b"").header("x-amz-copy-source", source);
        store.ask(more.iter().fold(copying, |ask, (name, value)| ask.header(name, value)))
    };
    let copied = copy("/other/copy", "/bucket/a%20b", &[]).ok();
    assert_eq!(copied.element("ETag").unwrap().replace("&quot;", "\""), format!("\"{}\"", hex(&md5(&data))));
    store.send("DELETE", "/bucket/a%20b", b"").ok();
    let got = store.send("GET", "/other/copy", b"").ok();
    assert!(got.body == data && got.header("x-amz-meta-one") == Some("1") && got.header("content-type") == Some("x/y"));
    copy("/other/copy", "/other/copy", &[]).refused(400, "InvalidRequest");
    let replace = [("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-two", "2")];
    copy("/other/copy", "other/copy", &replace).ok();
    let got = store.send("GET", "/other/copy", b"").ok();
    assert!(got.body == data && got.header("x-amz-meta-one").is_none() && got.header("x-amz-meta-two") == Some("2"));
    copy("/other/x", "/bucket/absent", &[]).refused(404, "NoSuchKey");
    copy("/other/x", "/absent/key", &[]).refused(404, "NoSuchBucket");
    copy("/other/x", "/other/copy", &[("x-amz-copy-source-if-match", "\"no\"")]).refused(412, "PreconditionFailed");
    copy("/bucket/once", "/other/copy", &[("if-none-match", "*")]).ok();
    copy("/bucket/once", "/other/copy", &[("if-none-match", "*")]).refused(412, "PreconditionFailed");
}

#[test]
fn many_keys_are_deleted_at_once() {
    let store = Store::with("bucket");
    for key in ["a", "b", "c&d"] {
        store.send("PUT", &format!("/bucket/{}", encode(key, true)), b"x").ok();
    }
    let document = "<Delete><Object><Key>a</Key></Object><Object><Key>c&amp;d</Key></Object><Object>\
        <Key>absent</Key></Object></Delete>";
    let deleted = store.send("POST", "/bucket?delete", document.as_bytes()).ok();
    assert_eq!(deleted.elements("Key"), ["a", "c&amp;d", "absent"]);
    assert_eq!(store.list("bucket", "").0, ["b"]);
    let quiet = "<Delete><Quiet>true</Quiet><Object><Key>b</Key></Object></Delete>";
    assert_eq!(store.send("POST", "/bucket?delete", quiet.as_bytes()).ok().elements("Key").len(), 0);
    let many: String = (0..1001).map(|n| format!("<Object><Key>{n}</Key></Object>")).collect();
    store.send("POST", "/bucket?delete", format!("<Delete>{many}</Delete>").as_bytes()).refused(400, "MalformedXML");
    let entity = "<!DOCTYPE a [<!ENTITY x \"y\">]><Delete><Object><Key>&x;</Key></Object></Delete>";
    store.send("POST", "/bucket?delete", entity.as_bytes()).refused(400, "MalformedXML");
}

#[test]
fn tags_and_access_can_be_set_later() {
    let store = Store::with("bucket");
    store.ask(ask("PUT", "/bucket/key", b"text").header("x-amz-tagging", "a=1&b=2")).ok();
    assert_eq!(store.send("GET", "/bucket/key", b"").ok().header("x-amz-tagging-count"), Some("2"));
    let tagging = "<Tagging><TagSet><Tag><Key>c</Key><Value>3</Value></Tag></TagSet></Tagging>";
    store.send("PUT", "/bucket/key?tagging", tagging.as_bytes()).ok();
    assert_eq!(store.send("GET", "/bucket/key?tagging", b"").ok().elements("Key"), ["c"]);
    store.send("DELETE", "/bucket/key?tagging", b"").ok();
    assert_eq!(store.send("GET", "/bucket/key?tagging", b"").ok().elements("Key").len(), 0);
    let anonymous = || store.ask(ask("GET", "/bucket/key", b"").anonymous());
    anonymous().refused(403, "AccessDenied");
    store.ask(ask("PUT", "/bucket/key?acl", b"").header("x-amz-acl", "public-read")).ok();
    assert_eq!(anonymous().ok().text(), "text");
    assert!(store.send("GET", "/bucket/key?acl", b"").ok().text().contains("AllUsers"));
    store.ask(ask("GET", "/bucket/absent", b"").anonymous()).refused(403, "AccessDenied");
    store.send("GET", "/bucket/absent", b"").refused(404, "NoSuchKey");
    store.send("GET", "/bucket/key?torrent", b"").refused(501, "NotImplemented");
    store
        .ask(ask("PUT", "/bucket/key", b"").header("x-amz-server-side-encryption", "AES256"))
        .refused(501, "NotImplemented");
}
