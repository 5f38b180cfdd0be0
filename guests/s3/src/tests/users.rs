//! Users: keys, whose things are, and who may do what to another's.

use super::*;

fn grant(id: &str, permission: &str) -> String {
    format!(
        "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>{id}\
         </ID></Grantee><Permission>{permission}</Permission></Grant>"
    )
}

fn list(owner: &str, grants: &[String]) -> Vec<u8> {
    let grants = grants.concat();
    let owner = format!("<Owner><ID>{owner}</ID></Owner>");
    format!("<AccessControlPolicy>{owner}<AccessControlList>{grants}</AccessControlList></AccessControlPolicy>")
        .into_bytes()
}

/// A store with two users, of whom one has a bucket and an object.
fn store() -> Store {
    let store = Store::new();
    store.user("alice", "--display-name Alice --email alice@example.com");
    store.user("bob", "");
    store.ask(ask("PUT", "/hers", b"").by("alice")).ok();
    store.ask(ask("PUT", "/hers/key", b"text").by("alice")).ok();
    store
}

#[test]
fn everybody_has_buckets_of_their_own() {
    let store = store();
    let by = |user: &str, method: &str, target: &str| store.ask(ask(method, target, b"").by(user));
    by("bob", "PUT", "/his").ok();
    assert_eq!(by("alice", "GET", "/").ok().elements("Name"), ["hers"]);
    let listed = by("bob", "GET", "/").ok();
    assert_eq!((listed.elements("Name"), listed.element("ID")), (vec!["his".to_owned()], Some("bob-id".to_owned())));
    by("bob", "PUT", "/hers").refused(409, "BucketAlreadyExists");
    for (method, target) in [
        ("GET", "/hers?list-type=2"),
        ("GET", "/hers/key"),
        ("GET", "/hers/absent"),
        ("GET", "/hers?acl"),
        ("GET", "/hers/key?acl"),
        ("GET", "/hers/key?tagging"),
        ("PUT", "/hers/key"),
        ("DELETE", "/hers/key"),
        ("DELETE", "/hers"),
        ("POST", "/hers/key?uploads"),
    ] {
        by("bob", method, target).refused(403, "AccessDenied");
    }
    let copy = ask("PUT", "/his/copy", b"").by("bob").header("x-amz-copy-source", "/hers/key");
    store.ask(copy).refused(403, "AccessDenied");
    let deleted = store.ask(ask("POST", "/hers?delete", b"<Delete><Object><Key>key</Key></Object></Delete>").by("bob"));
    assert_eq!(deleted.ok().element("Code").as_deref(), Some("AccessDenied"));
    assert_eq!(store.send("GET", "/hers/key", b"").ok().text(), "text", "the root key may do everything");
    assert_eq!(store.send("GET", "/", b"").ok().elements("Name").len(), 0, "and owns none of these");
    by("alice", "DELETE", "/hers/key").ok();
    by("alice", "DELETE", "/hers").ok();
    by("bob", "PUT", "/hers").ok();
}

#[test]
fn a_key_works_while_it_is_there_and_enabled() {
    let store = store();
    let read = || store.ask(ask("GET", "/hers/key", b"").by("alice"));
    store.admin("key disable alice").unwrap();
    read().ok();
    store.pass(2);
    read().refused(403, "InvalidAccessKeyId");
    store.admin("key enable alice").unwrap();
    store.pass(2);
    read().ok();
    store.admin("key delete alice").unwrap();
    store.pass(2);
    read().refused(403, "InvalidAccessKeyId");
    store.user("alice", "");
    read().refused(403, "InvalidAccessKeyId");
    store.pass(1);
    assert_eq!(read().ok().text(), "text", "the same user, who owns what it owned");
    let unknown = ask("GET", "/hers/key", b"").by("no such key");
    store.ask(unknown).refused(403, "InvalidAccessKeyId");
}

/// Fails if every request looks its key up in the cluster, or if that it failed is taken for its answer.
#[test]
fn a_key_is_looked_up_once_in_two_seconds() {
    let store = store();
    let address = crate::data::keys::access_key_address("bob");
    let id = recoil_sdk::Router::locate(&*store.cluster, &address).id;
    let fail = |why: Option<recoil_sdk::CallError>| store.cluster.fail_partition(id, why);
    let down = recoil_sdk::CallError::Failed("down".into());
    fail(Some(down.clone()));
    let lookup = |access: &str| store.ask(ask("GET", "/", b"").by(access)).status;
    assert_eq!(lookup("bob"), 500, "which is not to say that there is no such key");
    fail(None);
    store.ask(ask("GET", "/?prefix=x", b"").by("bob")).ok();
    let list = recoil_sdk::Router::locate(&*store.cluster, &crate::data::keys::list_address()).id;
    assert_ne!(list, id, "the test needs another partition");
    fail(Some(down));
    assert_eq!(lookup("bob"), 200);
    store.pass(2);
    assert_eq!(lookup("bob"), 500);
}

#[test]
fn a_list_of_access_opens_what_it_names() {
    let store = store();
    let by = |user: &str, method: &str, target: &str, body: &[u8]| store.ask(ask(method, target, body).by(user));
    let own = grant("alice-id", "FULL_CONTROL");
    by("alice", "PUT", "/hers/key?acl", &list("alice-id", &[own.clone(), grant("bob-id", "READ")])).ok();
    assert_eq!(by("bob", "GET", "/hers/key", b"").ok().text(), "text");
    by("bob", "GET", "/hers/key?acl", b"").refused(403, "AccessDenied");
    by("bob", "GET", "/hers?list-type=2", b"").refused(403, "AccessDenied");
    let shown = by("alice", "GET", "/hers/key?acl", b"").ok();
    assert_eq!(shown.elements("DisplayName"), ["Alice", "bob", "Alice"], "the grants, and the owner");
    assert_eq!(shown.elements("Permission"), ["FULL_CONTROL", "READ"]);
    by("alice", "PUT", "/hers?acl", &list("alice-id", &[own.clone(), grant("bob-id", "WRITE")])).ok();
    by("bob", "PUT", "/hers/new", b"his").ok();
    by("bob", "GET", "/hers?list-type=2", b"").refused(403, "AccessDenied");
    by("bob", "PUT", "/hers?acl", &list("alice-id", std::slice::from_ref(&own))).refused(403, "AccessDenied");
    for (body, status, code) in [
        (list("alice-id", &[grant("nobody-id", "READ")]), 400, "InvalidArgument"),
        (list("bob-id", std::slice::from_ref(&own)), 403, "AccessDenied"),
        (list("alice-id", &[grant("bob-id", "EVERYTHING")]), 400, "MalformedACLError"),
        (list("alice-id", &vec![grant("bob-id", "READ"); 101]), 400, "MalformedACLError"),
    ] {
        by("alice", "PUT", "/hers?acl", &body).refused(status, code);
    }
    let with = |name: &str, value: &str| ask("PUT", "/hers/g", b"").by("alice").header(name, value);
    store
        .ask(with("x-amz-grant-read", "emailAddress=\"nobody@example.com\""))
        .refused(400, "UnresolvableGrantByEmailAddress");
    store
        .ask(with("x-amz-grant-read", "id=bob-id, id=alice-id").header("x-amz-acl", "private"))
        .refused(400, "InvalidRequest");
    store.ask(with("x-amz-grant-read", "id=bob-id").header("x-amz-grant-write", "id=\"bob-id\"")).ok();
    by("bob", "GET", "/hers/g", b"").ok();
    let shown = by("alice", "GET", "/hers/g?acl", b"").ok();
    assert_eq!(shown.elements("Permission"), ["READ", "WRITE"]);
    by("alice", "PUT", "/hers?acl", &list("alice-id", &[])).ok();
    by("alice", "GET", "/hers/key", b"").ok();
    let mail = ask("PUT", "/his", b"").by("bob").header("x-amz-grant-full-control", "emailAddress=alice@example.com");
    store.ask(mail).ok();
    by("alice", "GET", "/his?list-type=2", b"").ok();
}

#[test]
fn an_object_belongs_to_who_wrote_it() {
    let store = store();
    let by = |user: &str, method: &str, target: &str| store.ask(ask(method, target, b"x").by(user));
    store.ask(ask("PUT", "/hers?acl", b"").by("alice").header("x-amz-acl", "public-read-write")).ok();
    by("bob", "PUT", "/hers/his").ok();
    by("bob", "GET", "/hers/his").ok();
    by("alice", "GET", "/hers/his").refused(403, "AccessDenied");
    by("alice", "GET", "/hers/his?acl").refused(403, "AccessDenied");
    let listed = by("alice", "GET", "/hers?list-type=2&fetch-owner=true").ok();
    assert_eq!(listed.elements("ID"), ["bob-id", "alice-id"]);
    let given = |acl: &str| ask("PUT", "/hers/given", b"x").by("bob").header("x-amz-acl", acl);
    store.ask(given("bucket-owner-read")).ok();
    by("alice", "GET", "/hers/given").ok();
    by("alice", "GET", "/hers/given?acl").refused(403, "AccessDenied");
    // A bucket may be set up so that what is given to its owner becomes the owner's.
    let controls = |name: &str| {
        let rule = format!("<Rule><ObjectOwnership>{name}</ObjectOwnership></Rule>");
        format!("<OwnershipControls>{rule}</OwnershipControls>").into_bytes()
    };
    let set = |name: &str| store.ask(ask("PUT", "/hers?ownershipControls", &controls(name)).by("alice"));
    set("BucketOwnerPreferred").ok();
    store.ask(given("bucket-owner-full-control")).ok();
    let shown = by("alice", "GET", "/hers/given?acl").ok();
    assert_eq!(shown.elements("ID"), ["alice-id", "alice-id"]);
    set("BucketOwnerEnforced").refused(400, "InvalidBucketAclWithObjectOwnership");
    store.ask(ask("PUT", "/hers?acl", b"").by("alice").header("x-amz-acl", "private")).ok();
    set("BucketOwnerEnforced").ok();
    by("alice", "GET", "/hers/his").ok();
    store
        .ask(ask("PUT", "/hers/k", b"").by("alice").header("x-amz-acl", "private"))
        .refused(400, "AccessControlListNotSupported");
    store.ask(ask("PUT", "/hers/k", b"").by("alice").header("x-amz-acl", "bucket-owner-full-control")).ok();
}

#[test]
fn an_upload_belongs_to_who_began_it() {
    let store = store();
    let by = |user: &str, method: &str, target: &str| store.ask(ask(method, target, b"x").by(user));
    let policy = r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/bob"},
        "Action":"s3:PutObject","Resource":"arn:aws:s3:::hers/*"}}"#;
    store.ask(ask("PUT", "/hers?policy", policy.as_bytes()).by("alice")).ok();
    let begin = || store.ask(ask("POST", "/hers/up?uploads", b"").by("bob")).ok().element("UploadId").unwrap();
    let (first, second) = (begin(), begin());
    by("bob", "PUT", &format!("/hers/up?uploadId={first}&partNumber=1")).ok();
    let parts = by("bob", "GET", &format!("/hers/up?uploadId={first}")).ok();
    assert_eq!(parts.elements("ID"), ["bob-id", "bob-id"]);
    let listed = by("alice", "GET", "/hers?uploads").ok();
    assert_eq!(listed.elements("DisplayName"), ["bob"; 4]);
    store.user("carol", "");
    by("carol", "GET", &format!("/hers/up?uploadId={first}")).refused(403, "AccessDenied");
    by("carol", "DELETE", &format!("/hers/up?uploadId={first}")).refused(403, "AccessDenied");
    by("bob", "DELETE", &format!("/hers/up?uploadId={second}")).ok();
    let etag = parts.element("ETag").unwrap();
    let complete = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    store.ask(ask("POST", &format!("/hers/up?uploadId={first}"), complete.as_bytes()).by("bob")).ok();
    by("bob", "GET", "/hers/up").ok();
    by("alice", "GET", "/hers/up").refused(403, "AccessDenied");
}

#[test]
fn a_key_may_be_made_for_a_bucket() {
    let store = store();
    store.user("carol", "--bucket hers --bucket later");
    store.user("dave", "--bucket hers --read-only");
    let by = |user: &str, method: &str, target: &str| store.ask(ask(method, target, b"x").by(user));
    assert_eq!(by("carol", "GET", "/").ok().elements("Name"), ["hers"]);
    by("carol", "PUT", "/hers/new").ok();
    by("alice", "GET", "/hers/new").ok();
    by("carol", "DELETE", "/hers/new").ok();
    store.ask(ask("PUT", "/carols", b"").by("carol")).refused(403, "AccessDenied");
    by("carol", "DELETE", "/hers").refused(403, "AccessDenied");
    store.ask(ask("PUT", "/hers/p", b"").by("carol").header("x-amz-acl", "public-read")).refused(403, "AccessDenied");
    assert_eq!(by("dave", "GET", "/hers/key").ok().text(), "text");
    by("dave", "GET", "/hers?list-type=2").ok();
    by("dave", "PUT", "/hers/key").refused(403, "AccessDenied");
    by("dave", "POST", "/hers/key?uploads").refused(403, "AccessDenied");
    store.ask(ask("PUT", "/hers?acl", b"").by("alice").header("x-amz-acl", "public-read-write")).ok();
    by("dave", "PUT", "/hers/key").refused(403, "AccessDenied");
    let own = store.admin("key show carol").unwrap();
    assert!(own.contains("read and write hers, later"), "{own}");
}

#[test]
fn the_expected_owner_is_the_owner() {
    let store = store();
    let expect =
        |id: &str| store.ask(ask("GET", "/hers/key", b"").by("alice").header("x-amz-expected-bucket-owner", id));
    expect("alice-id").ok();
    expect("bob-id").refused(403, "AccessDenied");
    let copy = |id: &str| {
        let copy = ask("PUT", "/hers/copy", b"").by("alice").header("x-amz-copy-source", "/hers/key");
        store.ask(copy.header("x-amz-source-expected-bucket-owner", id))
    };
    copy("alice-id").ok();
    copy("bob-id").refused(403, "AccessDenied");
    store.send("PUT", "/roots", b"").ok();
    store.ask(ask("GET", "/roots?list-type=2", b"").header("x-amz-expected-bucket-owner", "000000000000")).ok();
}

/// Policies about what a request carries, and about tags of the object that is there.
#[test]
fn conditions_look_at_the_request_and_the_object() {
    let store = store();
    let by = |asking: Ask| store.ask(asking.by("bob"));
    let policy = |statement: &str| {
        let text = format!(r#"{{"Statement":[{statement}]}}"#);
        store.ask(ask("PUT", "/hers?policy", text.as_bytes()).by("alice")).ok();
    };
    let allow = |action: &str, condition: &str| {
        format!(
            r#"{{"Effect":"Allow","Principal":{{"AWS":"*"}},"Action":"{action}","Resource":["arn:aws:s3:::hers/*",
            "arn:aws:s3:::hers"],"Condition":{condition}}}"#
        )
    };
    policy(&allow("s3:GetObject", r#"{"StringEquals":{"s3:ExistingObjectTag/team":"a"}}"#));
    by(ask("GET", "/hers/key", b"")).refused(403, "AccessDenied");
    let tagging = "<Tagging><TagSet><Tag><Key>team</Key><Value>a</Value></Tag></TagSet></Tagging>";
    store.ask(ask("PUT", "/hers/key?tagging", tagging.as_bytes()).by("alice")).ok();
    by(ask("GET", "/hers/key", b"")).ok();
    by(ask("GET", "/hers/key?tagging", b"")).refused(403, "AccessDenied");
    policy(&allow("s3:GetObjectTagging", r#"{"StringLike":{"aws:Referer":"http://a/*"}}"#));
    by(ask("GET", "/hers/key?tagging", b"")).refused(403, "AccessDenied");
    by(ask("GET", "/hers/key?tagging", b"").header("referer", "http://a/b")).ok();
    policy(&allow("s3:PutObject", r#"{"StringEquals":{"s3:x-amz-acl":"bucket-owner-full-control"}}"#));
    by(ask("PUT", "/hers/new", b"x")).refused(403, "AccessDenied");
    by(ask("PUT", "/hers/new", b"x").header("x-amz-acl", "bucket-owner-full-control")).ok();
    policy(&allow("s3:ListBucket", r#"{"StringLike":{"s3:prefix":"public/*"}}"#));
    by(ask("GET", "/hers?list-type=2&prefix=public/", b"")).ok();
    by(ask("GET", "/hers?list-type=2", b"")).refused(403, "AccessDenied");
    by(ask("GET", "/hers/public/absent", b"")).refused(404, "NoSuchKey");
    by(ask("GET", "/hers/private/absent", b"")).refused(403, "AccessDenied");
}
