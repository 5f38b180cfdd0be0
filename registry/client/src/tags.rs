//! Listing all tags of a repository, page by page.
//!
//! A page names its successor in a `Link` header (distribution specification 1.1, "Listing Tags";
//! RFC 8288). Some registries page without sending one: if there is no `Link`, the list is requested
//! again from the last tag on, until a page brings nothing new.
//!
//! Bounded: pages, tags, and the bytes of a page. A page that links back to an earlier one, or to
//! another host, is an error.

use std::collections::{BTreeSet, HashSet};

use recoil_oci::{Repository, Tag};
use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use crate::attempts::{Attempts, in_time};
use crate::failure::{Failure, Kind, shortened};
use crate::http::{expect, read};
use crate::registry::Image;
use crate::sign_in::Operation;
use crate::{Registry, RegistryError};

/// Tags requested per page.
const PAGE: &str = "1000";
/// Tags a repository may have.
const TAGS_MAX: usize = 100_000;
/// Pages a list of tags may have.
const PAGES_MAX: usize = 2_000;
/// Bytes of a page: registries that know no pages answer all tags at once.
const PAGE_BYTES_MAX: usize = 16 << 20;

#[derive(Deserialize)]
struct List {
    tags: Option<Vec<String>>,
}

struct Page {
    tags: Vec<String>,
    next: Option<Url>,
}

impl Registry {
    /// All tags of a repository, in the order of their text.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, RegistryError> {
        let found = self.all_tags(repository).await;
        found.map(|tags| tags.into_iter().collect()).map_err(|failure| self.tell(failure, repository.as_str()))
    }

    async fn all_tags(&self, repository: &Repository) -> Result<BTreeSet<Tag>, Failure> {
        let refused = |why: String| Failure::new(Kind::Refused, why);
        let image = &Image::new(repository, "");
        let first = self.http.url(&image.path("tags", "list"));
        let after = |last: Option<&str>| {
            let mut url = first.clone();
            url.query_pairs_mut().append_pair("n", PAGE).extend_pairs(last.map(|last| ("last", last)));
            url
        };
        let (mut tags, mut read) = (BTreeSet::new(), HashSet::new());
        let mut url = after(None);
        while read.insert(url.clone()) {
            if read.len() > PAGES_MAX {
                return Err(refused(format!("its tags are in more than {PAGES_MAX} pages: ask for a version")));
            }
            let page = self.tags_page(image, &url).await?;
            let known = tags.len();
            tags.extend(page.tags.iter().filter_map(|tag| tag.parse::<Tag>().ok()));
            if tags.len() > TAGS_MAX {
                return Err(refused(format!("it has more than {TAGS_MAX} tags: ask for a version")));
            }
            url = match (page.next, page.tags.last()) {
                (Some(next), _) => next,
                (None, Some(last)) if tags.len() > known => after(Some(last)),
                // Also ends the list of registries that ignore `n` and `last` and return all tags.
                (None, _) => return Ok(tags),
            };
        }
        Err(refused(format!("the pages of its tags go round in a circle: {} leads back to itself", shown(&url))))
    }

    async fn tags_page(&self, image: &Image, url: &Url) -> Result<Page, Failure> {
        Attempts::new(self, image, Operation::Pull).make(|| in_time(self.tags_page_once(image, url))).await
    }

    async fn tags_page_once(&self, image: &Image, url: &Url) -> Result<Page, Failure> {
        let wrong = |why: String| Failure::new(Kind::Refused, why);
        let answer = self.send(image, Operation::Pull, Method::GET, url.clone(), |request| request).await?;
        let answer = expect(answer, &[StatusCode::OK]).await?;
        let next = match next(answer.headers()) {
            Some(target) => Some(self.next_page(answer.url(), &target)?),
            None => None,
        };
        let body = read(answer, PAGE_BYTES_MAX).await?;
        let body = body.ok_or_else(|| wrong(format!("a list of its tags has more than {PAGE_BYTES_MAX} bytes")))?;
        let list: List = serde_json::from_slice(&body).map_err(|error| {
            wrong(format!("its list of tags is not a registry's: {}", shortened(&error.to_string())))
        })?;
        Ok(Page { tags: list.tags.unwrap_or_default(), next })
    }

    /// The URL of the next page. A registry behind a TLS proxy may link to its internal scheme and
    /// port, which are unreachable from here, so only path and query are taken from the link.
    fn next_page(&self, from: &Url, target: &str) -> Result<Url, Failure> {
        let wrong = |why: &str| {
            let why = format!("it says that its tags go on at '{}', {why}", shortened(target));
            Failure::new(Kind::Refused, why)
        };
        let base = self.http.base();
        let mut url = from.join(target).map_err(|_| wrong("which is no URL"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host() != base.host() {
            return Err(wrong("which is not the registry"));
        }
        url.set_fragment(None);
        // Both fail for URLs without a host alone.
        let set = url.set_scheme(base.scheme()).and_then(|()| url.set_port(base.port()));
        set.map_err(|()| wrong("which is not the registry"))?;
        Ok(url)
    }
}

fn shown(url: &Url) -> String {
    shortened(url.as_str())
}

/// The target of the first link whose relation is `next`.
fn next(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(links).find(|(_, relation)| is_next(relation)).map(|(target, _)| target)
}

fn is_next(relation: &str) -> bool {
    relation.split_ascii_whitespace().any(|one| one.eq_ignore_ascii_case("next"))
}

/// Targets and relations of a `Link` header (RFC 8288, section 3 and appendix B.2), up to what
/// cannot be read.
fn links(mut rest: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let Some((target, after)) = rest.strip_prefix('<').and_then(|rest| rest.split_once('>')) else { return found };
        rest = after;
        let mut relation = None;
        while let Some(after) = rest.trim_start().strip_prefix(';') {
            let Some((name, value, after)) = parameter(after) else { return found };
            rest = after;
            if name.eq_ignore_ascii_case("rel") && relation.is_none() {
                relation = Some(value);
            }
        }
        found.push((target.trim().to_owned(), relation.unwrap_or_default()));
        rest = rest.trim_start();
        if !rest.starts_with(',') {
            return found;
        }
    }
}

/// A parameter's name and value, and what follows. None if a quote does not end.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let end = text.find([';', ',', '=']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let Some(rest) = rest.strip_prefix('=') else { return Some((name.trim(), String::new(), rest)) };
    let rest = rest.trim_start();
    let Some(quoted) = rest.strip_prefix('"') else {
        let (value, rest) = rest.split_at(rest.find([';', ',']).unwrap_or(rest.len()));
        return Some((name.trim(), value.trim().to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((name.trim(), value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(LINK, line.parse().unwrap());
        }
        next(&headers)
    }

    #[test]
    fn the_next_page_is_found_however_it_is_written() {
        for line in [
            r#"</v2/a/tags/list?n=1&last=b>; rel="next""#,
            "</v2/a/tags/list?n=1&last=b>;rel=next",
            r#"</v2/a/tags/list?n=1&last=b> ; title="a, b; \"c\"" ; REL = "last Next""#,
            r#"</x>; rel="prev", </v2/a/tags/list?n=1&last=b>; rel="next", </y>; rel="next""#,
            r##"</x,y>; rel=prev; anchor="#a", </v2/a/tags/list?n=1&last=b>; rel=next"##,
            r#", , </v2/a/tags/list?n=1&last=b>; crossorigin; rel=next"#,
        ] {
            assert_eq!(of(&[line]).as_deref(), Some("/v2/a/tags/list?n=1&last=b"), "{line}");
            assert_eq!(of(&["</x>; rel=prev", line]).as_deref(), Some("/v2/a/tags/list?n=1&last=b"), "{line}");
        }
    }

    #[test]
    fn what_is_no_link_to_a_next_page_is_none() {
        for line in [
            "",
            "</x>",
            "</x>; rel=\"prev\"",
            "</x>; rel=nextone",
            "</x>; rel=prev; rel=next",
            "/x; rel=next",
            "<x; rel=next",
            "</x>; title=\"; rel=next",
            "</x>; rel=\"next",
            "</x>; rel=\"next\\",
        ] {
            assert_eq!(of(&[line]), None, "{line}");
        }
    }
}
