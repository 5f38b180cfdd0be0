//! Authentication: challenges, credentials, and the hosts that receive them.

use std::path::Path;

use super::*;

#[tokio::test]
async fn a_registry_that_wants_a_token_gets_it_and_nobody_else_gets_in() {
    let (fake, nobody, archive) = with_package().await;
    fake.state().wants = Wants::Basic(BASIC.to_owned());
    let wrong = client(&fake, Credentials::Token("wrong".to_owned())).await;
    for client in [nobody, wrong] {
        let error = client.resolve(&repository(), None).await.unwrap_err();
        assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(&format!("docker login {}", fake.address())) && text.contains("RECOIL_REGISTRY_TOKEN"),
            "{text}"
        );
        let (archive, artifact) = package("2.0.0");
        let error =
            client.push(&repository(), &tag("2.0.0"), &artifact, archive, false, &no_progress).await.unwrap_err();
        assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
    }
    let client = client(&fake, Credentials::Token("secret".to_owned())).await;
    let resolved = client.resolve(&repository(), None).await.unwrap();
    assert_eq!(client.pull(&resolved, &no_progress).await.unwrap(), archive);
}

#[tokio::test]
async fn a_registry_that_was_busy_when_asked_for_a_token_is_asked_again() {
    let (fake, _, _) = with_package().await;
    let client = client(&fake, Credentials::Token("secret".to_owned())).await;
    fake.state().wants = Wants::Basic(BASIC.to_owned());
    // The answer to `/v2/`, which should have said that a token is wanted.
    fake.state().unavailable = 1;
    client.resolve(&repository(), version("1.0.0").as_ref()).await.unwrap();
}

#[tokio::test]
async fn one_token_is_enough_for_a_push() {
    let fake = Fake::start().await;
    fake.state().wants = Wants::Bearer;
    let client = client(&fake, Credentials::Token("secret".to_owned())).await;
    let (archive, artifact) = package("1.0.0");
    client.push(&repository(), &tag("1.0.0"), &artifact, archive, false, &no_progress).await.unwrap();
    assert_eq!(fake.state().scopes, ["repository:acme/greeter:pull,push"]);
}

#[tokio::test]
async fn all_challenges_are_considered() {
    let (fake, _, archive) = with_package().await;
    let token = r#"Bearer realm="http://HOST/token",service="a, b""#;
    for challenges in [
        vec![r#"Basic realm="fake""#.to_owned(), token.to_owned()],
        vec![token.to_owned(), r#"Basic realm="fake""#.to_owned()],
        vec![format!(r#"Basic realm="fake, Bearer", {token}"#)],
        vec![format!(r#"{token}, Basic realm="fake""#)],
        vec!["Negotiate".to_owned(), token.replace("Bearer realm", "bEARER REALM")],
        vec!["\"".to_owned(), token.to_owned()],
    ] {
        fake.state().wants = Wants::BearerBy(challenges.clone());
        for credentials in [Credentials::Anonymous, Credentials::Token("secret".to_owned())] {
            let client = client(&fake, credentials).await;
            let resolved =
                client.resolve(&repository(), None).await.unwrap_or_else(|error| panic!("{challenges:?}: {error}"));
            assert_eq!(client.pull(&resolved, &no_progress).await.unwrap(), archive, "{challenges:?}");
        }
    }
}

#[tokio::test]
async fn basic_is_used_if_no_token_can_be_obtained() {
    let (fake, _, _) = with_package().await;
    // It offers both, and accepts only the password.
    for bearer in
        ["Bearer service=x", r#"Bearer realm="http://other.example/token""#, r#"Bearer realm="http://HOST/no""#]
    {
        fake.state().wants = Wants::BearerBy(vec![bearer.to_owned(), "Basic realm=\"fake\"".to_owned()]);
        fake.state().authorizations.clear();
        let client = client(&fake, Credentials::Token("secret".to_owned())).await;
        client.resolve(&repository(), None).await.unwrap_err();
        assert_eq!(fake.state().authorizations.last().unwrap().as_deref(), Some(BASIC), "{bearer}");
    }
}

#[tokio::test]
async fn malformed_answers_of_a_token_server_are_errors() {
    let (fake, _, _) = with_package().await;
    fake.state().wants = Wants::Bearer;
    let large = format!(r#"{{"token": "{}"}}"#, "x".repeat(300 << 10));
    for (token, why) in [
        (r#"{"token": "a\nb"}"#, "a token that cannot be sent"),
        (r#"{"token": ""}"#, "no token"),
        (r#"{"token": 1}"#, "no token"),
        ("{}", "no token"),
        ("", "no token"),
        (large.as_str(), "more than a token"),
    ] {
        fake.state().token = Some(token.to_owned());
        let client = client(&fake, Credentials::Anonymous).await;
        let error = client.resolve(&repository(), None).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    fake.state().token = Some(r#"{"token": "", "access_token": "repository:any"}"#.to_owned());
    let client = client(&fake, Credentials::Anonymous).await;
    client.resolve(&repository(), None).await.unwrap();
}

#[tokio::test]
async fn a_rejected_token_is_replaced() {
    let (fake, client, archive) = with_package().await;
    let resolved = resolved(&client).await;
    // From now on it wants one, as a registry does that no longer takes the one it gave.
    fake.state().wants = Wants::Bearer;
    fake.state().cuts = vec![30_000; 3];
    assert_eq!(client.pull(&resolved, &no_progress).await.unwrap(), archive);
    assert_eq!(fake.state().scopes, ["repository:acme/greeter:pull"]);
}

#[tokio::test]
async fn a_pull_uses_what_was_agreed_on_and_does_not_sign_in_again() {
    let (fake, _, archive) = with_package().await;
    // Tokens that say that they have expired, and that say nothing that can be read.
    let tokens = ["repository:a.eyJleHAiOjF9.x", "repository:a.!.x", "repository:a"];
    let bearer = tokens.map(|token| (Wants::Bearer, Some(format!("Bearer {token}"))));
    let others = [(Wants::Nothing, None), (Wants::Basic(BASIC.to_owned()), Some(BASIC.to_owned()))];
    for (wants, expected) in bearer.into_iter().chain(others) {
        let token = expected.as_deref().and_then(|text| text.strip_prefix("Bearer "));
        fake.state().token = token.map(|token| format!(r#"{{"token": "{token}"}}"#));
        fake.state().wants = wants;
        let client = client(&fake, Credentials::Token("secret".to_owned())).await;
        let resolved = resolved(&client).await;
        fake.state().authorizations.clear();
        fake.state().cuts = vec![100_000];
        assert_eq!(client.pull(&resolved, &no_progress).await.unwrap(), archive);
        assert_eq!(fake.state().authorizations, [expected.clone(), expected]);
    }
}

#[tokio::test]
async fn credentials_are_not_sent_without_a_challenge() {
    let (fake, _, archive) = with_package().await;
    let client = client(&fake, Credentials::Token("secret".to_owned())).await;
    let resolved = client.resolve(&repository(), None).await.unwrap();
    client.pull(&resolved, &no_progress).await.unwrap();
    let (_, artifact) = package("1.0.0");
    client.push(&repository(), &tag("2.0.0"), &artifact, archive, false, &no_progress).await.unwrap();
    assert!(fake.state().authorizations.iter().all(Option::is_none), "{:?}", fake.state().authorizations);
}

#[tokio::test]
async fn a_token_is_sent_only_to_its_own_registry() {
    let own = Fake::start().await;
    let (other, _, _) = with_package().await;
    other.state().wants = Wants::Basic(BASIC.to_owned());
    let credentials = |address: &str| Credentials::with_token_of(&own.address(), "secret".to_owned(), address).unwrap();
    let client = Registry::connect(&other.address(), credentials(&other.address())).await.unwrap();
    client.resolve(&repository(), None).await.unwrap_err();
    assert!(!other.state().authorizations.contains(&Some(BASIC.to_owned())));
    own.state().wants = Wants::Basic(BASIC.to_owned());
    let client = Registry::connect(&own.address(), credentials(&own.address())).await.unwrap();
    client.resolve(&repository(), None).await.unwrap_err();
    assert!(own.state().authorizations.contains(&Some(BASIC.to_owned())));
}

#[tokio::test]
async fn other_hosts_receive_no_credentials() {
    let (fake, _, archive) = with_package().await;
    let (other, _, _) = with_package().await;
    fake.state().wants = Wants::Basic(BASIC.to_owned());
    let client = client(&fake, Credentials::Token("secret".to_owned())).await;
    let resolved = client.resolve(&repository(), None).await.unwrap();
    fake.state().elsewhere = Some(format!("http://{}", other.address()));
    assert_eq!(client.pull(&resolved, &no_progress).await.unwrap(), archive);
    assert!(fake.state().authorizations.contains(&Some(BASIC.to_owned())));
    assert_eq!(pulls(&other).len(), 1);
    // A challenge of another host, to which `/v2/` redirects, is ignored.
    other.state().wants = Wants::Basic(BASIC.to_owned());
    let again = super::client(&fake, Credentials::Token("secret".to_owned())).await;
    again.resolve(&repository(), None).await.unwrap_err();
    // An upload location on another host.
    fake.state().elsewhere = None;
    fake.state().upload_location = Some(format!("http://{}/v2/acme/greeter/upload/1", other.address()));
    let (archive, artifact) = package("2.0.0");
    again.push(&repository(), &tag("2.0.0"), &artifact, archive, false, &no_progress).await.unwrap_err();
    assert!(!other.state().requests_with("PUT").is_empty(), "{:?}", other.state().requests);
    assert!(other.state().authorizations.iter().all(Option::is_none), "{:?}", other.state().authorizations);
}

/// A Docker configuration whose helper does not exist.
fn stale_configuration(folder: &Path) -> Credentials {
    std::fs::write(folder.join("config.json"), r#"{"credsStore": "recoil-test-that-does-not-exist"}"#).unwrap();
    Credentials::Docker { config: Some(folder.to_owned()) }
}

#[tokio::test]
async fn a_stale_helper_does_not_stop_requests_to_an_open_registry() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::start().await;
    let client = client(&fake, stale_configuration(folder.path())).await;
    let (archive, artifact) = package("1.0.0");
    client.push(&repository(), &tag("1.0.0"), &artifact, archive.clone(), false, &no_progress).await.unwrap();
    let resolved = client.resolve(&repository(), None).await.unwrap();
    assert_eq!(client.pull(&resolved, &no_progress).await.unwrap(), archive);
}

#[tokio::test]
async fn a_stale_helper_is_reported_if_anonymous_access_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (fake, _, _) = with_package().await;
    fake.state().wants = Wants::Bearer;
    let open = client(&fake, stale_configuration(folder.path())).await;
    open.resolve(&repository(), None).await.unwrap();
    fake.state().wants = Wants::Basic(BASIC.to_owned());
    let closed = client(&fake, stale_configuration(folder.path())).await;
    let error = closed.resolve(&repository(), None).await.unwrap_err();
    assert!(matches!(error, RegistryError::BadCredentials { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("docker-credential-") && text.contains("RECOIL_REGISTRY_TOKEN_HOST"), "{text}");
    // Other errors are unaffected.
    fake.state().wants = Wants::Bearer;
    let error = open.resolve(&repository(), version("9.0.0").as_ref()).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
}
