//! Listing tags in the order of the distribution specification ("Listing Tags"): case-insensitive.
//!
//! The records are ordered by bytes, so a page is computed by scanning all tags of the repository
//! and keeping the smallest ones after `last`: time is linear in the number of tags, memory in the
//! size of the page. Tags that differ only in case are ordered by bytes, so the order is total and
//! `last` is an exact position.

use std::collections::BTreeSet;

use hyper::StatusCode;
use recoil_oci::Repository;
use recoil_oci::records::{Answer as Record, Command, PAGE_MAX};
use serde_json::json;

use crate::failure::{Code, Failure};
use crate::manifests::{link_next, page_of};
use crate::records::unexpected;
use crate::store::StoreError;
use crate::{Answer, Head, Registry, builtin};

/// A tag with its case-insensitive sort key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    folded: String,
    tag: String,
}

impl Listed {
    fn new(tag: String) -> Self {
        Listed { folded: tag.to_ascii_lowercase(), tag }
    }
}

/// The smallest tags after a given one.
struct Page {
    after: Option<Listed>,
    limit: usize,
    least: BTreeSet<Listed>,
    more: bool,
}

impl Page {
    /// A page of at most `limit` tags after `after`; from the first tag on if `after` is empty.
    fn new(after: String, limit: usize) -> Self {
        let after = Some(after).filter(|after| !after.is_empty()).map(Listed::new);
        Page { after, limit, least: BTreeSet::new(), more: false }
    }

    fn take(&mut self, tag: String) {
        let tag = Listed::new(tag);
        if self.after.as_ref().is_some_and(|after| tag <= *after) {
            return;
        }
        self.least.insert(tag);
        if self.least.len() > self.limit {
            self.least.pop_last();
            self.more = true;
        }
    }

    fn tags(self) -> Vec<String> {
        self.least.into_iter().map(|listed| listed.tag).collect()
    }
}

impl Registry {
    /// All tags of a repository, if it exists.
    pub(crate) async fn all_tags(&self, name: &Repository) -> Result<Option<Vec<String>>, StoreError> {
        let mut page = Page::new(String::new(), usize::MAX);
        Ok(self.scan_tags(name, &mut page).await?.then(|| page.tags()))
    }

    /// Passes all tags of a repository to a page. False if there is no such repository.
    async fn scan_tags(&self, name: &Repository, page: &mut Page) -> Result<bool, StoreError> {
        if builtin::is_reserved(name) {
            let tags = self.builtin.tags(name);
            let exists = tags.is_some();
            tags.into_iter().flatten().for_each(|tag| page.take(tag));
            return Ok(exists);
        }
        let mut after = String::new();
        loop {
            let list = Command::Tags { repository: name.clone(), after, limit: PAGE_MAX };
            let (tags, more) = match self.records.ask(list).await? {
                Record::Tags { tags, more } => (tags, more),
                Record::Absent => return Ok(false),
                other => return Err(unexpected(other)),
            };
            let last = tags.last().cloned();
            tags.into_iter().for_each(|tag| page.take(tag));
            match last {
                Some(last) if more => after = last,
                _ => return Ok(true),
            }
        }
    }

    /// `GET …/tags/list`.
    pub(crate) async fn tags(&self, name: &Repository, request: &Head) -> Result<Answer, Failure> {
        let (limit, after) = page_of(request)?;
        let mut page = Page::new(after, limit);
        if !self.scan_tags(name, &mut page).await? {
            return Err(Failure::not_found(Code::NameUnknown, format!("there is no repository {name}")));
        }
        let more = page.more;
        let tags = page.tags();
        let mut list = crate::json(StatusCode::OK, &json!({ "name": name, "tags": tags }));
        link_next(&mut list, &format!("/v2/{name}/tags/list"), limit, tags.last().filter(|_| more));
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(after: &str, limit: usize, tags: &[&str]) -> (Vec<String>, bool) {
        let mut page = Page::new(after.to_owned(), limit);
        tags.iter().for_each(|tag| page.take((*tag).to_owned()));
        assert!(page.least.len() <= limit, "no more is kept");
        let more = page.more;
        (page.tags(), more)
    }

    #[test]
    fn tags_are_in_one_order_without_regard_to_case() {
        let all = ["B", "_x", "a.1", "A-1", "a", "A", "b", "10", "2", "C"];
        let ordered = ["10", "2", "_x", "A", "a", "A-1", "a.1", "B", "b", "C"];
        assert_eq!(page("", usize::MAX, &all), (ordered.map(str::to_owned).into(), false));
        for limit in 1..=all.len() {
            let (mut found, mut last) = (Vec::new(), String::new());
            loop {
                let (tags, more) = page(&last, limit, &all);
                found.extend(tags.iter().cloned());
                last = tags.last().unwrap().clone();
                if !more {
                    break;
                }
                assert_eq!(tags.len(), limit);
            }
            assert_eq!(found, ordered, "{limit}");
        }
        assert_eq!(page("c", 9, &all), (vec![], false));
        assert_eq!(page("a-0", 1, &all), (vec!["A-1".to_owned()], true), "behind one that is not there");
        assert_eq!(page("", 0, &all), (vec![], true));
    }
}
