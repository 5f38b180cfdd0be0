//! Versions, delete markers, object lock, lifecycle.

use super::*;

fn set_versioning(store: &Store, status: &str) {
    let document = format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
    store.send("PUT", "/bucket?versioning", document.as_bytes()).ok();
}

fn put(store: &Store, data: &[u8]) -> Option<String> {
    store.send("PUT", "/bucket/key", data).ok().header("x-amz-version-id").map(str::to_owned)
}

fn get(store: &Store, version: &str) -> Response {
    store.send("GET", &format!("/bucket/key?versionId={version}"), b"")
}

/// Versions of a page, and then its markers: the id, `*` for the latest and `-` for markers.
fn versions(store: &Store, query: &str) -> (Vec<String>, Response) {
    let page = store.send("GET", &format!("/bucket?versions&{query}"), b"").ok();
    let mut found = Vec::new();
    for (kind, mark) in [("Version", ""), ("DeleteMarker", "-")] {
        for element in page.elements(kind) {
            let id = element.split_once("<VersionId>").unwrap().1.split_once('<').unwrap().0.to_owned();
            let latest = if element.contains("<IsLatest>true") { "*" } else { "" };
            found.push(format!("{id}{latest}{mark}"));
        }
    }
    (found, page)
}

#[test]
fn versions_stay_until_they_are_deleted_by_name() {
    let store = Store::with("bucket");
    assert_eq!(put(&store, b"before"), None);
    set_versioning(&store, "Enabled");
    let (first, second) = (put(&store, b"1").unwrap(), put(&store, &bytes(100_000, 2)).unwrap());
    assert_eq!(get(&store, &first).ok().text(), "1");
    assert_eq!(get(&store, "null").ok().text(), "before");
    assert_eq!(versions(&store, "").0.len(), 3);
    let deleted = store.send("DELETE", "/bucket/key", b"").ok();
    assert_eq!(deleted.header("x-amz-delete-marker"), Some("true"));
    let marker = deleted.header("x-amz-version-id").unwrap().to_owned();
    let gone = store.send("GET", "/bucket/key", b"").refused(404, "NoSuchKey");
    assert_eq!(
        (gone.header("x-amz-delete-marker"), gone.header("x-amz-version-id")),
        (Some("true"), Some(marker.as_str()))
    );
    get(&store, &marker).refused(405, "MethodNotAllowed");
    assert_eq!(store.list("bucket", "").0.len(), 0);
    let (listed, _) = versions(&store, "");
    assert!(listed.contains(&format!("{marker}*-")) && listed.contains(&"null".to_owned()), "{listed:?}");
    store.send("DELETE", "/bucket", b"").refused(409, "BucketNotEmpty");
    // Deleting the marker brings the newest version back.
    let restored = store.send("DELETE", &format!("/bucket/key?versionId={marker}"), b"").ok();
    assert_eq!(restored.header("x-amz-delete-marker"), Some("true"));
    assert_eq!(store.send("GET", "/bucket/key", b"").ok().header("x-amz-version-id"), Some(second.as_str()));
    store.send("DELETE", &format!("/bucket/key?versionId={second}"), b"").ok();
    assert_eq!(store.send("GET", "/bucket/key", b"").ok().text(), "1");
    store.send("DELETE", &format!("/bucket/key?versionId={first}"), b"").ok();
    assert_eq!(store.send("GET", "/bucket/key", b"").ok().text(), "before");
    store.send("DELETE", "/bucket/key?versionId=null", b"").ok();
    store.send("GET", "/bucket/key", b"").refused(404, "NoSuchKey");
    get(&store, &first).refused(404, "NoSuchVersion");
    get(&store, "nonsense").refused(400, "InvalidArgument");
    assert_eq!([b'O', b'V', b'N', b'H', b'I'].map(|kind| store.rows(kind)), [0; 5]);
    store.send("DELETE", "/bucket", b"").ok();
}

/// Fails if a write to a bucket whose versioning is suspended keeps an older null version or loses another one, or if an
/// answer names what it made where S3 does not.
#[test]
fn suspended_writes_replace_only_null() {
    let store = Store::with("bucket");
    set_versioning(&store, "Enabled");
    let kept = put(&store, b"kept").unwrap();
    set_versioning(&store, "Suspended");
    assert_eq!(put(&store, b"a"), None);
    assert_eq!(put(&store, b"b"), None);
    assert_eq!(store.send("GET", "/bucket/key", b"").ok().header("x-amz-version-id"), Some("null"));
    let copy = store.ask(ask("PUT", "/bucket/copy", b"").header("x-amz-copy-source", "/bucket/key")).ok();
    assert_eq!((copy.header("x-amz-version-id"), copy.header("x-amz-copy-source-version-id")), (None, Some("null")));
    store.send("DELETE", "/bucket/copy?versionId=null", b"").ok();
    assert_eq!(versions(&store, "").0, ["null*".to_owned(), kept.clone()]);
    let deleted = store.send("DELETE", "/bucket/key", b"").ok();
    assert_eq!(deleted.header("x-amz-version-id"), Some("null"));
    assert_eq!(versions(&store, "").0, [kept.clone(), "null*-".to_owned()]);
    set_versioning(&store, "Enabled");
    let newest = put(&store, b"c").unwrap();
    assert_eq!(versions(&store, "").0, [format!("{newest}*"), kept.clone(), "null-".to_owned()]);
    set_versioning(&store, "Suspended");
    put(&store, b"d");
    assert_eq!(versions(&store, "").0, ["null*".to_owned(), newest.clone(), kept.clone()]);
    assert_eq!(store.rows(b'N'), 0);
    // The null version goes by its name, whatever came after it, and what is before it comes back.
    set_versioning(&store, "Enabled");
    let last = put(&store, b"e").unwrap();
    assert_eq!(get(&store, "null").ok().text(), "d");
    let gone = store.send("DELETE", "/bucket/key?versionId=null", b"").ok();
    assert_eq!((gone.header("x-amz-version-id"), gone.header("x-amz-delete-marker")), (Some("null"), None));
    assert_eq!(versions(&store, "").0, [format!("{last}*"), newest.clone(), kept.clone()]);
    set_versioning(&store, "Suspended");
    put(&store, b"f");
    store.send("DELETE", "/bucket/key?versionId=null", b"").ok();
    assert_eq!(store.send("GET", "/bucket/key", b"").ok().text(), "e");
    // Two markers in a row are one, since the second replaces the first.
    for _ in 0..2 {
        store.send("DELETE", "/bucket/key", b"").ok();
        assert_eq!(versions(&store, "").0, [last.clone(), newest.clone(), kept.clone(), "null*-".to_owned()]);
    }
    let restored = store.send("DELETE", "/bucket/key?versionId=null", b"").ok();
    assert_eq!(restored.header("x-amz-delete-marker"), Some("true"));
    assert_eq!(versions(&store, "").0, [format!("{last}*"), newest, kept]);
    assert_eq!(store.rows(b'N'), 0);
}

/// Fails if a page that ends within a key's versions loses some, also when those that were shown
/// are deleted before the next.
#[test]
fn versions_are_listed_in_pages() {
    let store = Store::with("bucket");
    set_versioning(&store, "Enabled");
    for n in 0..23u8 {
        put(&store, &[n]);
        store.send("PUT", &format!("/bucket/other{}", n % 3), &[n]).ok();
    }
    let all = versions(&store, "").0;
    assert_eq!(all.len(), 46);
    for limit in [1, 4, 45] {
        let (mut seen, mut marker) = (Vec::new(), String::new());
        for _ in 0..100 {
            let (page, response) = versions(&store, &format!("max-keys={limit}{marker}"));
            seen.extend(page);
            let Some(key) = response.element("NextKeyMarker") else { break };
            marker =
                format!("&key-marker={key}&version-id-marker={}", response.element("NextVersionIdMarker").unwrap());
        }
        assert_eq!(seen, all, "{limit}");
    }
    let mut marker = String::new();
    for _ in 0..100 {
        let (page, response) = versions(&store, &format!("max-keys=5{marker}"));
        let keys: Vec<String> = response
            .elements("Version")
            .iter()
            .map(|element| element.split_once("<Key>").unwrap().1.split_once('<').unwrap().0.to_owned())
            .collect();
        for (id, key) in page.iter().zip(keys) {
            store.send("DELETE", &format!("/bucket/{key}?versionId={}", id.trim_end_matches('*')), b"").ok();
        }
        let Some(key) = response.element("NextKeyMarker") else { break };
        marker = format!("&key-marker={key}&version-id-marker={}", response.element("NextVersionIdMarker").unwrap());
    }
    assert_eq!(versions(&store, "").0.len(), 0);
    store.send("GET", "/bucket?versions&version-id-marker=null", b"").refused(400, "InvalidArgument");
}

#[test]
fn a_locked_version_stays() {
    let store = Store::new();
    store.ask(ask("PUT", "/bucket", b"").header("x-amz-bucket-object-lock-enabled", "true")).ok();
    let retained = ask("PUT", "/bucket/key", b"x")
        .header("x-amz-object-lock-mode", "GOVERNANCE")
        .header("x-amz-object-lock-retain-until-date", "2025-06-16T00:00:00Z");
    let version = store.ask(retained).ok().header("x-amz-version-id").unwrap().to_owned();
    let target = format!("/bucket/key?versionId={version}");
    store.send("DELETE", &target, b"").refused(403, "AccessDenied");
    let bypass = || store.ask(ask("DELETE", &target, b"").header("x-amz-bypass-governance-retention", "true"));
    let hold = |status: &str| {
        store
            .send(
                "PUT",
                "/bucket/key?legal-hold",
                format!("<LegalHold><Status>{status}</Status></LegalHold>").as_bytes(),
            )
            .ok()
    };
    hold("ON");
    bypass().refused(403, "AccessDenied");
    hold("OFF");
    let retain = |mode: &str, until: &str| {
        store.send(
            "PUT",
            "/bucket/key?retention",
            format!("<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>").as_bytes(),
        )
    };
    retain("GOVERNANCE", "2025-06-15T18:00:00Z").refused(403, "AccessDenied");
    retain("COMPLIANCE", "2025-06-17T00:00:00Z").refused(403, "AccessDenied");
    retain("governance", "2025-06-18T00:00:00Z").refused(400, "MalformedXML");
    let stronger =
        b"<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2025-06-17T00:00:00Z</RetainUntilDate></Retention>";
    let bypassing = ask("PUT", "/bucket/key?retention", stronger);
    store.ask(bypassing.header("x-amz-bypass-governance-retention", "true")).ok();
    retain("GOVERNANCE", "2025-06-18T00:00:00Z").refused(403, "AccessDenied");
    bypass().refused(403, "AccessDenied");
    assert_eq!(store.send("GET", "/bucket/key?retention", b"").ok().element("Mode").as_deref(), Some("COMPLIANCE"));
    store
        .send(
            "PUT",
            "/bucket?versioning",
            b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
        )
        .refused(409, "InvalidBucketState");
    store.send("DELETE", "/bucket/key", b"").ok();
    store.pass(3 * 86_400);
    store.send("DELETE", &target, b"").ok();
    let default = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
        <Mode>GOVERNANCE</Mode><Days>2</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
    store.send("PUT", "/bucket?object-lock", default.as_bytes()).ok();
    assert_eq!(store.send("GET", "/bucket?object-lock", b"").ok().element("Days").as_deref(), Some("2"));
    put(&store, b"y");
    assert_eq!(store.send("HEAD", "/bucket/key", b"").ok().header("x-amz-object-lock-mode"), Some("GOVERNANCE"));
}

#[test]
fn a_lifecycle_removes_what_is_old() {
    let store = Store::with("bucket");
    store.send("PUT", "/bucket/logs/old", b"x").ok();
    store.ask(ask("PUT", "/bucket/tagged", b"x").header("x-amz-tagging", "k=v")).ok();
    store.send("PUT", "/bucket/kept", b"x").ok();
    store.send("POST", "/bucket/logs/upload?uploads", b"").ok();
    let rules = "<LifecycleConfiguration>\
        <Rule><ID>a</ID><Status>Enabled</Status><Filter><Prefix>logs/</Prefix></Filter><Expiration><Days>1</Days>\
        </Expiration><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation>\
        </AbortIncompleteMultipartUpload></Rule>\
        <Rule><ID>b</ID><Status>Enabled</Status><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Expiration>\
        <Days>1</Days></Expiration></Rule>\
        <Rule><ID>c</ID><Status>Disabled</Status><Filter><Prefix></Prefix></Filter><Expiration><Days>1</Days>\
        </Expiration></Rule>\
        </LifecycleConfiguration>";
    store.send("PUT", "/bucket?lifecycle", rules.as_bytes()).ok();
    assert_eq!(store.send("GET", "/bucket?lifecycle", b"").ok().elements("ID"), ["a", "b", "c"]);
    store.pass(86_000);
    assert_eq!(store.list("bucket", "").0.len(), 3, "a day ends at midnight");
    store.pass(3 * 86_400);
    assert_eq!(store.list("bucket", "").0, ["kept"]);
    assert_eq!(store.rows(b'U'), 0);
    store.send("DELETE", "/bucket?lifecycle", b"").ok();
    store.send("GET", "/bucket?lifecycle", b"").refused(404, "NoSuchLifecycleConfiguration");
}

#[test]
fn a_lifecycle_removes_old_versions_and_markers_that_hide_nothing() {
    let store = Store::with("bucket");
    set_versioning(&store, "Enabled");
    (0..4u8).for_each(|n| drop(put(&store, &[n])));
    store.send("PUT", "/bucket/gone", b"x").ok();
    store.send("DELETE", "/bucket/gone", b"").ok();
    let rules = "<LifecycleConfiguration><Rule><ID>a</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>\
        <Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>\
        <NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>\
        <NewerNoncurrentVersions>1</NewerNoncurrentVersions></NoncurrentVersionExpiration>\
        </Rule></LifecycleConfiguration>";
    store.send("PUT", "/bucket?lifecycle", rules.as_bytes()).ok();
    store.pass(6 * 86_400);
    let (left, response) = versions(&store, "");
    assert_eq!(left.len(), 4, "{}", response.text());
    assert_eq!(response.elements("DeleteMarker").len(), 1, "what it hides is kept as the newest of the older ones");
    assert_eq!(store.send("GET", "/bucket/key", b"").ok().body, [3]);
}
