//! HTTP requests by curl.

use std::collections::BTreeMap;
use std::path::Path;

use crate::run;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 0 if there was none.
    pub status: u16,
    /// Lower-case names.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// What curl complained of.
    pub complaint: String,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Asks once. `more` are curl's own arguments; `scratch` is a folder for what comes.
pub fn ask(scratch: &Path, method: &str, url: &str, more: &[&str]) -> Answer {
    let (head, body) = (scratch.join("answer.head"), scratch.join("answer.body"));
    for file in [&head, &body] {
        let _ = std::fs::remove_file(file);
    }
    let (head_path, body_path) = (head.to_string_lossy().into_owned(), body.to_string_lossy().into_owned());
    let mut words = vec!["-sS", "--max-time", "120", "-D", &head_path, "-o", &body_path, "-H", "Expect:"];
    // curl waits for the body of a HEAD's answer unless it knows that it is one.
    words.extend(if method == "HEAD" { vec!["-I"] } else { vec!["-X", method] });
    words.extend(more);
    words.push(url);
    let ran = run("curl", &words);
    let text = std::fs::read(&head).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    // The last head, after any `100 Continue`.
    let last = text.trim().rsplit("\r\n\r\n").next().unwrap_or("").to_owned();
    let mut lines = last.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Answer { status, headers, body: std::fs::read(&body).unwrap_or_default(), complaint: ran.stderr }
}
