//! Uploads in parts.

use super::*;
use crate::digest::md5;

const PART: usize = 5 << 20;

fn begin(store: &Store, key: &str, more: &[(&str, &str)]) -> String {
    let creating = ask("POST", &format!("/bucket/{key}?uploads"), b"");
    let created = store.ask(more.iter().fold(creating, |ask, (name, value)| ask.header(name, value))).ok();
    created.element("UploadId").unwrap()
}

fn part(store: &Store, key: &str, upload: &str, number: u32, data: &[u8]) -> Response {
    store.send("PUT", &format!("/bucket/{key}?partNumber={number}&uploadId={upload}"), data)
}

fn complete(store: &Store, key: &str, upload: &str, parts: &[(u32, &str)]) -> Response {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    store.send("POST", &format!("/bucket/{key}?uploadId={upload}"), document.as_bytes())
}

fn etag(data: &[u8]) -> String {
    hex(&md5(data))
}

#[test]
fn parts_become_an_object() {
    let store = Store::with("bucket");
    let upload = begin(&store, "key", &[("x-amz-meta-a", "b"), ("content-type", "t/p")]);
    let parts = [bytes(PART, 1), bytes(PART + 700_001, 2), bytes(10, 3)];
    for (number, data) in [(7, &parts[2]), (2, &parts[1]), (1, &parts[0])] {
        let put = part(&store, "key", &upload, number, data).ok();
        assert_eq!(put.header("etag"), Some(format!("\"{}\"", etag(data)).as_str()));
    }
    store.send("GET", "/bucket/key", b"").refused(404, "NoSuchKey");
    let listed = store.send("GET", &format!("/bucket/key?uploadId={upload}&max-parts=2"), b"").ok();
    assert_eq!(
        (listed.elements("PartNumber"), listed.element("IsTruncated").as_deref()),
        (vec!["1".into(), "2".into()], Some("true"))
    );
    assert_eq!(store.send("GET", "/bucket?uploads", b"").ok().elements("UploadId"), std::slice::from_ref(&upload));
    let (first, second, last) = (etag(&parts[0]), format!("&quot;{}&quot;", etag(&parts[1])), etag(&parts[2]));
    let listed = [(1, first.as_str()), (2, second.as_str()), (7, last.as_str())];
    let done = complete(&store, "key", &upload, &listed).ok();
    let md5s: Vec<u8> = parts.iter().flat_map(|data| md5(data)).collect();
    let whole = format!("\"{}-3\"", hex(&md5(&md5s)));
    assert_eq!(done.element("ETag").unwrap().replace("&quot;", "\""), whole);
    let got = store.send("GET", "/bucket/key", b"").ok();
    assert!(got.body == parts.concat() && got.header("etag") == Some(whole.as_str()));
    assert_eq!((got.header("x-amz-meta-a"), got.header("content-type")), (Some("b"), Some("t/p")));
    // Across the boundary of parts.
    let range =
        store.ask(ask("GET", "/bucket/key", b"").header("range", &format!("bytes={}-{}", PART - 5, PART + 4))).ok();
    assert!(range.body == parts.concat()[PART - 5..PART + 5]);
    let second = store.send("HEAD", "/bucket/key?partNumber=2", b"");
    assert_eq!((second.status, second.header("x-amz-mp-parts-count")), (206, Some("3")));
    assert_eq!(second.header("content-length"), Some((PART + 700_001).to_string().as_str()));
    assert!(store.send("GET", "/bucket/key?partNumber=7", b"").ok().body == parts[2]);
    store.send("GET", "/bucket/key?partNumber=3", b"").refused(416, "InvalidPartNumber");
    store.send("GET", "/bucket/key?partNumber=8", b"").refused(416, "InvalidPartNumber");
    assert_eq!(store.send("HEAD", "/bucket/key?partNumber=8", b"").status, 416);
    // Whoever did not hear the answer is told it again, for a day.
    assert_eq!(complete(&store, "key", &upload, &listed).ok().element("ETag"), done.element("ETag"));
    assert_eq!((store.rows(b'U'), store.rows(b'M'), store.rows(b'P')), (0, 0, 0));
    store.pass(86_400 + 7_200);
    complete(&store, "key", &upload, &listed).refused(404, "NoSuchUpload");
}

#[test]
fn what_is_wrong_with_a_list_of_parts_is_said() {
    let store = Store::with("bucket");
    let upload = begin(&store, "key", &[]);
    let (small, large) = (bytes(100, 1), bytes(PART, 2));
    part(&store, "key", &upload, 1, &small).ok();
    part(&store, "key", &upload, 2, &large).ok();
    part(&store, "key", &upload, 3, &large).ok();
    let (s, l) = (etag(&small), etag(&large));
    complete(&store, "key", &upload, &[(1, &s), (2, &l)]).refused(400, "EntityTooSmall");
    complete(&store, "key", &upload, &[(3, &l), (2, &l)]).refused(400, "InvalidPartOrder");
    complete(&store, "key", &upload, &[(2, &l), (2, &l)]).refused(400, "InvalidPartOrder");
    complete(&store, "key", &upload, &[(2, &s)]).refused(400, "InvalidPart");
    complete(&store, "key", &upload, &[(9, &s)]).refused(400, "InvalidPart");
    complete(&store, "key", &upload, &[]).refused(400, "MalformedXML");
    complete(&store, "other", &upload, &[(2, &l)]).refused(404, "NoSuchUpload");
    part(&store, "key", &upload, 0, &small).refused(400, "InvalidArgument");
    part(&store, "key", &upload, 10_001, &small).refused(400, "InvalidArgument");
    part(&store, "key", &"0".repeat(32), 1, &small).refused(404, "NoSuchUpload");
    part(&store, "key", "nonsense", 1, &small).refused(404, "NoSuchUpload");
    let mut endless = ask("PUT", &format!("/bucket/key?partNumber=4&uploadId={upload}"), &small);
    endless.head.headers.retain(|(name, _)| name != "content-length");
    store.ask(endless.header("transfer-encoding", "chunked")).refused(411, "MissingContentLength");
    // A part that is uploaded again replaces the first, whose bytes become free; so do those of
    // parts that are not used.
    part(&store, "key", &upload, 2, &bytes(PART, 5)).ok();
    assert_eq!(store.rows(b'T'), 1);
    complete(&store, "key", &upload, &[(2, &l)]).refused(400, "InvalidPart");
    complete(&store, "key", &upload, &[(2, &etag(&bytes(PART, 5))), (3, &l)]).ok();
    assert_eq!(store.rows(b'T'), 2);
    assert_eq!(store.send("GET", "/bucket/key", b"").ok().body.len(), 2 * PART);
}

#[test]
fn an_aborted_upload_takes_nothing_more() {
    let store = Store::with("bucket");
    let upload = begin(&store, "key", &[]);
    part(&store, "key", &upload, 1, &bytes(100, 1)).ok();
    store.send("DELETE", &format!("/bucket/key?uploadId={upload}"), b"").ok();
    store.send("DELETE", &format!("/bucket/key?uploadId={upload}"), b"").refused(404, "NoSuchUpload");
    part(&store, "key", &upload, 1, &bytes(100, 1)).refused(404, "NoSuchUpload");
    store.send("GET", &format!("/bucket/key?uploadId={upload}"), b"").refused(404, "NoSuchUpload");
    assert_eq!((store.rows(b'U'), store.rows(b'M'), store.rows(b'P'), store.rows(b'T')), (0, 0, 0, 1));
}

#[test]
fn checksums_of_parts_come_to_one() {
    let store = Store::with("bucket");
    use crate::digest::{Algorithm, Checksum, base64};
    for (algorithm, kind) in
        [(Algorithm::Crc64Nvme, "FULL_OBJECT"), (Algorithm::Crc32, "FULL_OBJECT"), (Algorithm::Sha256, "COMPOSITE")]
    {
        let more = [("x-amz-checksum-algorithm", algorithm.name()), ("x-amz-checksum-type", kind)];
        let upload = begin(&store, "key", &more);
        let parts = [bytes(PART, 1), bytes(50, 2)];
        for (number, data) in (1..).zip(&parts) {
            let put = part(&store, "key", &upload, number, data).ok();
            assert_eq!(
                put.header(algorithm.header()),
                Some(base64(&Checksum::of(algorithm, data)).as_str()),
                "without being asked"
            );
        }
        let done = complete(&store, "key", &upload, &[(1, &etag(&parts[0])), (2, &etag(&parts[1]))]).ok();
        let element = format!("Checksum{}", algorithm.name());
        let expected = if kind == "FULL_OBJECT" {
            base64(&Checksum::of(algorithm, &parts.concat()))
        } else {
            let values: Vec<u8> = parts.iter().flat_map(|data| Checksum::of(algorithm, data)).collect();
            format!("{}-2", base64(&Checksum::of(algorithm, &values)))
        };
        assert_eq!(done.element(&element), Some(expected), "{}", done.text());
    }
    let wrong = ask("POST", "/bucket/key?uploads", b"")
        .header("x-amz-checksum-algorithm", "SHA256")
        .header("x-amz-checksum-type", "FULL_OBJECT");
    store.ask(wrong).refused(400, "InvalidRequest");
    let upload = begin(&store, "key", &[("x-amz-checksum-algorithm", "SHA1")]);
    let other = ask("PUT", &format!("/bucket/key?partNumber=1&uploadId={upload}"), b"a")
        .header("x-amz-sdk-checksum-algorithm", "CRC32");
    store.ask(other).refused(400, "InvalidRequest");
}

#[test]
fn a_part_may_be_a_copy() {
    let store = Store::with("bucket");
    let data = bytes(PART + 1000, 4);
    store.send("PUT", "/bucket/source", &data).ok();
    let upload = begin(&store, "key", &[]);
    let copy = |number: u32, range: Option<&str>| {
        let copying = ask("PUT", &format!("/bucket/key?partNumber={number}&uploadId={upload}"), b"")
            .header("x-amz-copy-source", "bucket/source");
        store.ask(range.into_iter().fold(copying, |ask, range| ask.header("x-amz-copy-source-range", range)))
    };
    let first = copy(1, None).ok().element("ETag").unwrap();
    let second = copy(2, Some("bytes=100-199")).ok().element("ETag").unwrap();
    copy(3, Some("bytes=0-99999999")).refused(416, "InvalidRange");
    copy(3, Some("bytes=5-")).refused(400, "InvalidArgument");
    complete(&store, "key", &upload, &[(1, &first), (2, &second)]).ok();
    assert!(store.send("GET", "/bucket/key", b"").ok().body == [&data[..], &data[100..200]].concat());
}
