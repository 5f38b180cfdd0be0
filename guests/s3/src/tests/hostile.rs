//! Requests that no client sends: whatever comes, there is an answer, and nothing panics.

use super::*;

/// Numbers that only look random.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    /// Replaces, removes or repeats a piece of a text, at boundaries of characters.
    fn damage(&mut self, text: &str) -> String {
        let mut characters: Vec<char> = text.chars().collect();
        for _ in 0..=self.below(3) {
            let at = self.below(characters.len() + 1);
            match self.below(4) {
                0 if at < characters.len() => drop(characters.remove(at)),
                1 => characters.insert(at, ['%', '&', '=', '\0', '"', '<', '\u{e4}', '/', '-', ','][self.below(10)]),
                2 if at < characters.len() => characters[at] = char::from(self.below(128) as u8),
                _ => characters.extend_from_within(..at.min(40)),
            }
        }
        characters.into_iter().collect()
    }
}

const TARGETS: &[&str] = &[
    "/",
    "/bucket",
    "/bucket/key",
    "/bucket/a%2Fb",
    "/absent",
    "/bucket?acl",
    "/bucket?policy",
    "/bucket?cors",
    "/bucket?lifecycle",
    "/bucket?tagging",
    "/bucket?versioning",
    "/bucket?object-lock",
    "/bucket?ownershipControls",
    "/bucket?publicAccessBlock",
    "/bucket?delete",
    "/bucket?uploads",
    "/bucket?versions&max-keys=2&key-marker=a",
    "/bucket?list-type=2&prefix=a&delimiter=/&max-keys=1",
    "/bucket/key?acl",
    "/bucket/key?tagging",
    "/bucket/key?retention",
    "/bucket/key?legal-hold",
    "/bucket/key?attributes",
    "/bucket/key?uploads",
    "/bucket/key?versionId=null",
    "/bucket/key?partNumber=1&uploadId=00000000000000000000000000000000",
    "/bucket/key?uploadId=00000000000000000000000000000000",
];

const HEADERS: &[(&str, &str)] = &[
    ("range", "bytes=0-1"),
    ("if-match", "\"a\""),
    ("if-none-match", "*"),
    ("if-modified-since", "Sun, 15 Jun 2025 15:06:39 GMT"),
    ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ("content-type", "multipart/form-data; boundary=edge"),
    ("origin", "https://a.com"),
    ("x-amz-acl", "public-read"),
    ("x-amz-grant-read", "id=\"a\", uri=\"http://acs.amazonaws.com/groups/global/AllUsers\""),
    ("x-amz-checksum-crc32", "AAAAAA=="),
    ("x-amz-copy-source", "/bucket/key?versionId=null"),
    ("x-amz-copy-source-range", "bytes=0-1"),
    ("x-amz-tagging", "a=1&b=2"),
    ("x-amz-meta-name", "value"),
    ("x-amz-object-lock-mode", "GOVERNANCE"),
    ("x-amz-object-attributes", "ETag,ObjectSize"),
    ("x-amz-trailer", "x-amz-checksum-crc32"),
    ("x-amz-decoded-content-length", "5"),
    ("transfer-encoding", "chunked"),
];

const BODIES: &[&str] = &[
    "",
    "text",
    "<Delete><Object><Key>key</Key></Object></Delete>",
    "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
    "<AccessControlPolicy><AccessControlList><Grant><Grantee><ID>a</ID></Grantee><Permission>READ</Permission></Grant>\
     </AccessControlList></AccessControlPolicy>",
    "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>",
    "<LifecycleConfiguration><Rule><Filter><Prefix>a</Prefix></Filter><Status>Enabled</Status><Expiration><Days>1</Days>\
     </Expiration></Rule></LifecycleConfiguration>",
    r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::bucket/*",
     "Condition":{"StringLike":{"s3:prefix":"a*"}}}]}"#,
    "5;chunk-signature=0\r\nhello\r\n0;chunk-signature=0\r\n\r\n",
    "--edge\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--edge\r\nContent-Disposition: form-data; \
     name=\"file\"; filename=\"a\"\r\n\r\nx\r\n--edge--\r\n",
];

#[test]
fn whatever_is_sent_is_answered() {
    let store = Store::with("bucket");
    store.send("PUT", "/bucket/key", b"text").ok();
    store.user("alice", "--bucket bucket");
    let mut dice = Dice(1);
    let mut seen = std::collections::BTreeMap::<u16, usize>::new();
    for turn in 0..3000 {
        if turn % 20 == 0 {
            // What was removed, shut or set is as it was.
            store.send("DELETE", "/bucket?policy", b"");
            store.send("PUT", "/bucket", b"");
            store.send("PUT", "/bucket/key", b"text");
        }
        let method = dice.pick(&["GET", "GET", "PUT", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH"]);
        let mut target = dice.pick(TARGETS).to_owned();
        if dice.below(3) == 0 {
            target = dice.damage(&target);
        }
        let mut body = dice.pick(BODIES).to_owned();
        if dice.below(2) == 0 {
            body = dice.damage(&body);
        }
        let mut asking = ask(method, &target, body.as_bytes());
        for _ in 0..dice.below(4) {
            let (name, value) = HEADERS[dice.below(HEADERS.len())];
            let value = if dice.below(2) == 0 { dice.damage(value) } else { value.to_owned() };
            asking = asking.header(name, value.trim());
        }
        asking = match dice.below(4) {
            0 => asking.anonymous(),
            1 => asking.by("alice"),
            _ => asking,
        };
        let answer = store.ask(asking);
        assert!(matches!(answer.status, 200..=599), "{method} {target}: {}", answer.status);
        assert_ne!(answer.status, 500, "{method} {target} {body:?}: {}", answer.text());
        *seen.entry(answer.status).or_default() += 1;
    }
    // Otherwise everything was turned away at the door, and nothing has been tried.
    for status in [200, 204, 400, 403, 404, 501] {
        assert!(seen.get(&status).is_some_and(|count| *count > 5), "{seen:?}");
    }
}

/// Signatures and credentials that are no such thing.
#[test]
fn whatever_signs_is_refused_or_verified() {
    let store = Store::with("bucket");
    let mut dice = Dice(7);
    let now_s = i64::try_from(store.clock.now_us.get() / 1_000_000).unwrap();
    for _ in 0..500 {
        let mut asking = ask("PUT", "/bucket/key", b"text");
        sign(&mut asking.head, &asking.body, now_s);
        asking.key = None;
        let at = dice.below(asking.head.headers.len());
        let before = asking.head.headers[at].clone();
        asking.head.headers[at].1 = dice.damage(&before.1).trim().to_owned();
        let is_same = asking.head.headers[at] == before;
        let answer = store.ask(asking.clone());
        // The length is that of the body, however it is written, and spaces do not count.
        let (name, value) = &asking.head.headers[at];
        assert!(is_same || answer.status >= 400, "{name}: {value:?} instead of {:?}", before.1);
        assert_ne!(answer.status, 500, "{name}: {value:?}: {}", answer.text());
    }
}
