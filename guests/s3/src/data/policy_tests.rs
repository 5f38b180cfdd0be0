use super::*;
use crate::data::access::{Grant, Grantee, KeyGrants};
use crate::data::rows::{Configuration, PublicAccessBlock, State};

fn owner(id: &str) -> Owner {
    Owner { id: id.to_owned(), name: id.to_uppercase() }
}

fn caller(id: &str) -> Caller {
    let user = User { owner: owner(id), name: format!("{id}-key"), root: false, grants: KeyGrants::default() };
    Caller { user: Some(user), facts: vec![] }
}

fn anybody() -> Caller {
    Caller::default()
}

fn bucket(configuration: Configuration) -> Bucket {
    Bucket {
        id: [1; 16],
        name: "b".into(),
        owner: owner("alice"),
        region: "r".into(),
        created_us: 0,
        shards: 1,
        state: State::Open,
        epoch: 1,
        unsettled: false,
        configuration,
    }
}

fn with_policy(statements: &str) -> Bucket {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":{statements}}}"#);
    let statements = compile("b", &text).unwrap();
    bucket(Configuration { policy: Some((text, statements)), ..Default::default() })
}

fn may(bucket: &Bucket, caller: &Caller, action: &str, key: Option<&str>, object: Option<Object<'_>>) -> bool {
    Question { bucket, caller, action, key, object, now_us: 0 }.may()
}

const PLAIN: Object<'static> = Object { owner: None, acl: None, tags: &[] };

fn read(bucket: &Bucket, caller: &Caller, key: &str) -> bool {
    may(bucket, caller, "s3:GetObject", Some(key), Some(PLAIN))
}

#[test]
fn a_policy_gives_and_takes() {
    let public = r#"{"Effect":"Allow","Principal":"*","Action":"s3:getObject","Resource":"arn:aws:s3:::b/pub/*"}"#;
    let found = with_policy(public);
    assert!(read(&found, &anybody(), "pub/a") && !read(&found, &anybody(), "a"));
    assert!(!may(&found, &anybody(), "s3:PutObject", Some("pub/a"), None));
    assert!(read(&found, &caller("alice"), "a") && read(&found, &Caller::root(), "a"));
    let deny =
        r#"{"Effect":"Deny","Principal":{"AWS":["*"]},"Action":["s3:*"],"Resource":"arn:aws:s3:::b/pub/secret"}"#;
    let both = with_policy(&format!("[{public},{deny}]"));
    assert!(!read(&both, &anybody(), "pub/secret") && !read(&both, &caller("alice"), "pub/secret"));
    assert!(read(&both, &anybody(), "pub/a"));
    let all = with_policy(
        r#"{"Effect":"Deny","Principal":"*","Action":"*","Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]}"#,
    );
    assert!(may(&all, &caller("alice"), "s3:PutBucketPolicy", None, None), "nobody is locked out");
    assert!(!may(&all, &caller("alice"), "s3:ListBucket", None, None));
    assert!(!may(&all, &caller("bob"), "s3:PutBucketPolicy", None, None));
    let mut restricted = with_policy(public);
    restricted.configuration.public_access = Some(PublicAccessBlock { restrict: true, ..Default::default() });
    assert!(!read(&restricted, &anybody(), "pub/a"));
}

#[test]
fn principals_are_whom_they_name() {
    let reads = |principal: &str, caller: &Caller| {
        let statement = format!(
            r#"{{"Effect":"Allow","Principal":{principal},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}}"#
        );
        read(&with_policy(&statement), caller, "k")
    };
    for principal in [
        r#"{"AWS":"arn:aws:iam::000000000000:user/bob-key"}"#,
        r#"{"AWS":"arn:aws:iam:::user/path/bob"}"#,
        r#"{"AWS":["bob","carol"]}"#,
        r#"{"AWS":"arn:aws:iam::bob:root"}"#,
        r#"{"CanonicalUser":"bob"}"#,
    ] {
        assert!(reads(principal, &caller("bob")), "{principal}");
        assert!(!reads(principal, &caller("dave")) && !reads(principal, &anybody()), "{principal}");
    }
    assert!(!reads(r#"{"AWS":"arn:aws:iam::111122223333:user/bob"}"#, &caller("bob")), "another account's bob");
    assert!(!reads(r#"{"AWS":"arn:aws:iam::000000000000:root"}"#, &caller("bob")));
    assert!(reads(r#"{"AWS":"arn:aws:iam::000000000000:root"}"#, &Caller::root()));
}

#[test]
fn what_a_statement_is_not_about_is_left_to_others() {
    let found = with_policy(
        r#"{"Effect":"Deny","Principal":"*","NotAction":"s3:GetObject","NotResource":"arn:aws:s3:::b/open/*"}"#,
    );
    let alice = caller("alice");
    assert!(read(&found, &alice, "a") && !may(&found, &alice, "s3:PutObject", Some("a"), None));
    assert!(may(&found, &alice, "s3:PutObject", Some("open/a"), None));
}

#[test]
fn conditions_are_kept() {
    let list = |condition: &str| {
        let statement = r#"{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket",
            "Resource":"arn:aws:s3:::b","Condition":C}"#;
        let found = with_policy(&statement.replace(":C}", &format!(":{condition}}}")));
        move |prefix: Option<&str>| {
            let caller = prefix.map_or_else(anybody, |prefix| anybody().with("s3:prefix", prefix));
            may(&found, &caller, "s3:ListBucket", None, None)
        }
    };
    let like = list(r#"{"StringLike":{"s3:prefix":["a/*"]}}"#);
    assert!(like(Some("a/b")) && !like(Some("b")) && !like(None));
    let not = list(r#"{"StringNotEquals":{"s3:prefix":"a"}}"#);
    assert!(!not(Some("a")) && not(Some("b")));
    let secure = list(r#"{"Bool":{"aws:SecureTransport":"true"}}"#);
    assert!(!secure(None));
    let later = list(r#"{"DateGreaterThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"}}"#);
    assert!(!later(None));
    let tagged = with_policy(
        r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*",
            "Condition":{"StringEquals":{"s3:ExistingObjectTag/Team":"a"}}}"#,
    );
    let tags = [("Team".to_owned(), "a".to_owned())];
    let object = Object { tags: &tags, ..PLAIN };
    assert!(may(&tagged, &anybody(), "s3:GetObject", Some("k"), Some(object)) && !read(&tagged, &anybody(), "k"));
}

/// Fails if a part of a policy is ignored.
#[test]
fn what_is_not_understood_is_refused() {
    let statement = |from: &str, to: &str| {
        let good = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}"#;
        assert!(good.contains(from));
        compile("b", &format!(r#"{{"Statement":[{}]}}"#, good.replace(from, to)))
    };
    assert!(statement("Allow", "Allow").is_ok() && statement(":b/*", ":*/*").is_ok());
    for (from, to) in [
        ("Allow", "allow"),
        (r#""Principal":"*""#, r#""NotPrincipal":"*""#),
        (r#""*""#, r#"{"AWS":"arn:aws:iam::1:role/x"}"#),
        (r#""*""#, r#"{"AWS":"arn:aws:iam::1:user/*"}"#),
        (r#""*""#, r#"{"Federated":"x"}"#),
        (r#""*""#, r#"{}"#),
        ("s3:GetObject", "ec2:Run"),
        (":b/*", ":other/*"),
        (":b/*", ":bb"),
        (":b/*", ":b/${aws:username}/*"),
        (r#""Action":"#, r#""NotAction":"s3:PutObject","Action":"#),
        (r#""Resource":"#, r#""Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}},"Resource":"#),
    ] {
        assert!(statement(from, to).is_err(), "{from} {to}");
    }
    assert!(compile("b", "{").is_err() && compile("b", "[]").is_err() && compile("b", r#"{"Statement":[]}"#).is_err());
    assert!(compile("b", &" ".repeat(POLICY_BYTES_MAX + 1)).is_err());
    let public = |statement: &str| is_public(&compile("b", &format!(r#"{{"Statement":{statement}}}"#)).unwrap());
    let good = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"C}"#;
    assert!(public(&good.replace('C', "")));
    assert!(!public(&good.replace('C', r#","Condition":{"StringEquals":{"aws:username":"bob"}}"#)));
}

#[test]
fn lists_of_access_give_what_they_name() {
    let acl = |grants: &[(Grantee, Permission)]| {
        Acl(grants.iter().map(|(grantee, permission)| Grant::new(grantee.clone(), *permission)).collect())
    };
    let of = |list: &Acl| bucket(Configuration { acl: list.clone(), ..Default::default() });
    let public = acl(&[(Grantee::All, Permission::Read)]);
    assert!(!read(&of(&public), &anybody(), "k"), "a bucket's list is not its objects'");
    let object = Object { acl: Some(&public), ..PLAIN };
    assert!(may(&of(&Acl::default()), &anybody(), "s3:GetObject", Some("k"), Some(object)));
    assert!(may(&of(&public), &anybody(), "s3:ListBucket", None, None));
    assert!(!may(&of(&Acl::default()), &anybody(), "s3:ListBucket", None, None));
    let writable = of(&acl(&[(Grantee::All, Permission::Write)]));
    assert!(may(&writable, &anybody(), "s3:PutObject", Some("k"), None));
    assert!(!may(&writable, &anybody(), "s3:PutBucketPolicy", None, None));
    let known = of(&acl(&[(Grantee::Authenticated, Permission::Read)]));
    assert!(may(&known, &caller("bob"), "s3:ListBucket", None, None));
    assert!(!may(&known, &anybody(), "s3:ListBucket", None, None));
    let named = of(&acl(&[(Grantee::User(owner("bob")), Permission::WriteAcp)]));
    assert!(may(&named, &caller("bob"), "s3:PutBucketAcl", None, None));
    assert!(!may(&named, &caller("bob"), "s3:GetBucketAcl", None, None));
    let mut ignored = of(&public);
    ignored.configuration.public_access = Some(PublicAccessBlock { ignore_acls: true, ..Default::default() });
    assert!(!may(&ignored, &anybody(), "s3:ListBucket", None, None));
}

/// Fails if a bucket's owner, or its policy, can open an object that another user owns.
#[test]
fn an_object_is_its_owners() {
    let bob = owner("bob");
    let object = Object { owner: Some(&bob), ..PLAIN };
    let of = |bucket: &Bucket, id: &str, action: &str| may(bucket, &caller(id), action, Some("k"), Some(object));
    let plain = bucket(Configuration::default());
    assert!(of(&plain, "bob", "s3:GetObject") && of(&plain, "bob", "s3:PutObjectAcl"));
    assert!(!of(&plain, "alice", "s3:GetObject") && !of(&plain, "alice", "s3:GetObjectAcl"));
    assert!(of(&plain, "alice", "s3:DeleteObject") && !of(&plain, "bob", "s3:DeleteObject"));
    let open =
        with_policy(r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}"#);
    assert!(!of(&open, "carol", "s3:GetObject") && read(&open, &caller("carol"), "k"));
    let mut enforced = open.clone();
    enforced.configuration.ownership = Some("BucketOwnerEnforced".into());
    assert!(of(&enforced, "carol", "s3:GetObject") && of(&enforced, "alice", "s3:GetObject"));
}

#[test]
fn a_key_may_use_the_buckets_it_was_made_for() {
    let plain = bucket(Configuration::default());
    let mut key = caller("bob");
    let asks = |key: &Caller, action: &str| may(&plain, key, action, Some("k"), None);
    assert!(!asks(&key, "s3:PutObject"));
    let grants = |caller: &mut Caller, read_only| {
        caller.user.as_mut().unwrap().grants = KeyGrants { buckets: vec!["b".into()], read_only };
    };
    grants(&mut key, false);
    assert!(asks(&key, "s3:PutObject") && asks(&key, "s3:ListBucket") && read(&plain, &key, "k"));
    assert!(!asks(&key, "s3:PutBucketPolicy") && !asks(&key, "s3:PutObjectAcl") && !asks(&key, "s3:DeleteBucket"));
    grants(&mut key, true);
    assert!(asks(&key, "s3:ListBucket") && read(&plain, &key, "k") && !asks(&key, "s3:PutObject"));
    let mut owner = caller("alice");
    owner.user.as_mut().unwrap().grants.read_only = true;
    assert!(!asks(&owner, "s3:PutObject"), "not even what is the user's own");
}
