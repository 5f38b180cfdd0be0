//! Requests of other origins: preflights, and what answers to others say.

use crate::data::rows::CorsRule;

/// Headers of an answer.
pub(super) type Headers = Vec<(&'static str, String)>;

/// True if `text` is `pattern`, in which one `*` is any text.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end),
    }
}

/// The first rule that allows an origin to use a method, and to send these headers.
fn find<'a>(rules: &'a [CorsRule], origin: &str, method: &str, headers: &[String]) -> Option<&'a CorsRule> {
    rules.iter().find(|rule| {
        rule.origins.iter().any(|pattern| fits(pattern, origin))
            && rule.methods.iter().any(|allowed| allowed == method)
            && headers.iter().all(|name| rule.headers.iter().any(|pattern| fits(&pattern.to_ascii_lowercase(), name)))
    })
}

/// What an answer says; nothing if no rule allows the request.
pub(super) fn answer(rules: &[CorsRule], origin: &str, method: &str) -> Headers {
    find(rules, origin, method, &[]).map(|rule| shown(rule, origin)).unwrap_or_default()
}

/// What the answer to a preflight says; none if no rule allows what it asks for.
pub(super) fn preflight(rules: &[CorsRule], origin: &str, method: &str, requested: Option<&str>) -> Option<Headers> {
    let names = requested.unwrap_or("").split(',').map(|name| name.trim().to_ascii_lowercase());
    let names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    let rule = find(rules, origin, method, &names)?;
    let mut headers = shown(rule, origin);
    if !names.is_empty() {
        headers.push(("access-control-allow-headers", names.join(", ")));
    }
    if let Some(seconds) = rule.max_age_s {
        headers.push(("access-control-max-age", seconds.to_string()));
    }
    Some(headers)
}

fn shown(rule: &CorsRule, origin: &str) -> Headers {
    let everybody = rule.origins.iter().any(|pattern| pattern == "*");
    let origin = if everybody { "*" } else { origin };
    let mut headers = vec![
        ("access-control-allow-origin", origin.to_owned()),
        ("access-control-allow-methods", rule.methods.join(", ")),
        ("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method".to_owned()),
    ];
    if !everybody {
        headers.push(("access-control-allow-credentials", "true".to_owned()));
    }
    if !rule.expose.is_empty() {
        headers.push(("access-control-expose-headers", rule.expose.join(", ")));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(origins: &[&str], methods: &[&str], headers: &[&str]) -> CorsRule {
        let list = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        CorsRule {
            id: None,
            origins: list(origins),
            methods: list(methods),
            headers: list(headers),
            expose: list(&["ETag"]),
            max_age_s: Some(60),
        }
    }

    #[test]
    fn a_preflight_is_allowed_what_one_rule_allows() {
        let rules = [
            rule(&["https://*.example.com"], &["GET"], &[]),
            rule(&["https://a.example.com"], &["PUT"], &["x-amz-*", "Content-Type"]),
        ];
        let asked = |origin: &str, method: &str, headers: Option<&str>| preflight(&rules, origin, method, headers);
        let value = |headers: &Headers, name: &str| {
            headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone())
        };
        let allowed = asked("https://a.example.com", "PUT", Some("X-Amz-Date, content-type")).unwrap();
        assert_eq!(value(&allowed, "access-control-allow-origin").as_deref(), Some("https://a.example.com"));
        assert_eq!(value(&allowed, "access-control-allow-headers").as_deref(), Some("x-amz-date, content-type"));
        assert_eq!(value(&allowed, "access-control-max-age").as_deref(), Some("60"));
        assert_eq!(asked("https://a.example.com", "PUT", Some("authorization")), None);
        assert_eq!(asked("https://example.com", "GET", None), None);
        assert_eq!(asked("https://b.example.com", "PUT", None), None);
        assert!(answer(&rules, "https://b.example.com", "GET").iter().any(|(name, _)| *name == "vary"));
        assert_eq!(answer(&rules, "https://evil.com", "GET"), vec![]);
        assert_eq!(
            value(&answer(&[rule(&["*"], &["GET"], &[])], "https://x", "GET"), "access-control-allow-origin")
                .as_deref(),
            Some("*")
        );
    }
}
