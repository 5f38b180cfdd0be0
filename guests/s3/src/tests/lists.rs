//! Lists: pages, prefixes, delimiters, markers, across shards.

use super::*;

fn store(keys: &[&str]) -> Store {
    let store = Store::with("bucket");
    for key in keys {
        store.send("PUT", &format!("/bucket/{}", encode(key, true)), b"").ok();
    }
    store
}

/// All pages of a list, each name once and in order.
fn walk(store: &Store, query: &str, limit: usize) -> Vec<String> {
    let (mut all, mut token) = (Vec::new(), None);
    for _ in 0..1000 {
        let continuation = token.map(|token| format!("&continuation-token={token}")).unwrap_or_default();
        let (keys, prefixes, next) = store.list("bucket", &format!("max-keys={limit}&{query}{continuation}"));
        assert!(keys.len() + prefixes.len() <= limit);
        let mut page = [keys, prefixes].concat();
        page.sort();
        all.extend(page);
        token = next;
        if token.is_none() {
            return all;
        }
    }
    panic!("a list without an end");
}

#[test]
fn pages_come_to_the_whole_whatever_their_size() {
    let names: Vec<String> =
        (0..230).map(|n| format!("dir{}/sub{}/file{n:03}", n % 3, n % 7)).chain(["dir0".into(), "zz".into()]).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let store = store(&keys);
    let mut sorted = names.clone();
    sorted.sort();
    for limit in [1, 7, 100, 1000] {
        assert_eq!(walk(&store, "", limit), sorted, "{limit}");
        assert_eq!(walk(&store, "delimiter=%2F", limit), ["dir0", "dir0/", "dir1/", "dir2/", "zz"], "{limit}");
        let subs: Vec<String> = (0..7).map(|n| format!("dir1/sub{n}/")).collect();
        assert_eq!(walk(&store, "delimiter=%2F&prefix=dir1%2F", limit), subs, "{limit}");
        assert_eq!(
            walk(&store, "delimiter=sub&prefix=dir", limit),
            ["dir0", "dir0/sub", "dir1/sub", "dir2/sub"],
            "{limit}"
        );
    }
    assert_eq!(
        walk(&store, "start-after=dir2%2Fsub6", 9).first().unwrap(),
        sorted.iter().find(|key| key.as_str() > "dir2/sub6").unwrap()
    );
    assert_eq!(walk(&store, "prefix=none", 9).len(), 0);
}

#[test]
fn a_page_says_what_it_was_asked() {
    let store = store(&["a", "b/1", "b/2", "c d"]);
    let empty = store.send("GET", "/bucket?list-type=2&max-keys=0", b"").ok();
    assert_eq!(
        (empty.element("IsTruncated").as_deref(), empty.element("KeyCount").as_deref()),
        (Some("false"), Some("0"))
    );
    let page = store.send("GET", "/bucket?list-type=2&delimiter=%2F&max-keys=2&encoding-type=url", b"").ok();
    let expect = [
        ("KeyCount", "2"),
        ("IsTruncated", "true"),
        ("MaxKeys", "2"),
        ("Delimiter", "/"),
        ("EncodingType", "url"),
        ("Name", "bucket"),
    ];
    for (name, value) in expect {
        assert_eq!(page.element(name).as_deref(), Some(value), "{}", page.text());
    }
    store.send("GET", "/bucket?list-type=2&max-keys=-1", b"").refused(400, "InvalidArgument");
    store.send("GET", "/bucket?list-type=2&encoding-type=other", b"").refused(400, "InvalidArgument");
    store.send("GET", "/bucket?list-type=2&continuation-token=forged", b"").refused(400, "InvalidArgument");
    store.send("GET", "/absent?list-type=2", b"").refused(404, "NoSuchBucket");

    let first = store.send("GET", "/bucket?max-keys=2&delimiter=%2F", b"").ok();
    assert_eq!((first.elements("Key"), first.element("NextMarker").as_deref()), (vec!["a".to_owned()], Some("b/")));
    let second = store.send("GET", "/bucket?max-keys=2&delimiter=%2F&marker=b%2F", b"").ok();
    assert_eq!((second.elements("Key"), second.elements("CommonPrefixes").len()), (vec!["c d".to_owned()], 0));
    let plain = store.send("GET", "/bucket?max-keys=2", b"").ok();
    assert_eq!(
        (plain.elements("Key").len(), plain.element("NextMarker"), plain.element("IsTruncated").as_deref()),
        (2, None, Some("true"))
    );
    let after = store.send("GET", "/bucket?marker=b%2F1", b"").ok();
    assert_eq!(after.elements("Key"), ["b/2", "c d"]);
    // The token wins over start-after.
    let (_, _, token) = store.list("bucket", "max-keys=1");
    let (keys, ..) = store.list("bucket", &format!("start-after=zzz&continuation-token={}", token.unwrap()));
    assert_eq!(keys, ["b/1", "b/2", "c d"]);
}

/// Fails if a name that XML cannot carry is shown as it is to a client that asked for URL encoding, in any element that has
/// one, or if pages of such names do not go on where they stopped.
#[test]
fn names_are_encoded_for_who_asks() {
    let names = ["a b+c\u{7}/1", "a b+c\u{7}/2", "a b+c\u{7}\u{fc}", "z&<"];
    let store = store(&names);
    let page = |query: &str| store.send("GET", &format!("/bucket?encoding-type=url&{query}"), b"").ok();
    let first = page("prefix=a%20b%2Bc%07&delimiter=%2F&max-keys=1");
    for (name, value) in [
        ("Prefix", "a%20b%2Bc%07"),
        ("Delimiter", "/"),
        ("Marker", ""),
        ("NextMarker", "a%20b%2Bc%07/"),
        ("EncodingType", "url"),
    ] {
        assert_eq!(first.element(name).as_deref(), Some(value), "{name}: {}", first.text());
    }
    assert!(first.text().contains("<CommonPrefixes><Prefix>a%20b%2Bc%07/</Prefix></CommonPrefixes>"));
    let second = page("prefix=a%20b%2Bc%07&delimiter=%2F&marker=a%20b%2Bc%07%2F");
    assert_eq!(second.element("Marker").as_deref(), Some("a%20b%2Bc%07/"));
    assert_eq!(second.elements("Key"), ["a%20b%2Bc%07%C3%BC"]);
    // A delimiter that needs it, too.
    let odd = page("delimiter=%2Bc%07");
    assert_eq!(odd.element("Delimiter").as_deref(), Some("%2Bc%07"));
    assert_eq!(odd.elements("Key"), ["z%26%3C"]);
    let versions = page("versions&prefix=a%20b%2Bc%07&key-marker=a%20b%2Bc%07%2F1");
    assert_eq!(versions.element("KeyMarker").as_deref(), Some("a%20b%2Bc%07/1"));
    assert_eq!(versions.elements("Key"), ["a%20b%2Bc%07/2", "a%20b%2Bc%07%C3%BC"]);
    // Whoever did not ask gets references, which XML 1.0 does not allow either, but which parsers read.
    let plain = store.send("GET", "/bucket?prefix=a%20b%2Bc%07%2F", b"").ok();
    assert_eq!(plain.elements("Key"), ["a b+c&#x7;/1", "a b+c&#x7;/2"]);
}
