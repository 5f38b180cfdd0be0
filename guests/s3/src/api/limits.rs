//! The table of limits in the README, from the constants that enforce them.

use crate::data::access::GRANTS_MAX;
use crate::data::policy::POLICY_BYTES_MAX;
use crate::front::authenticate::EXPIRES_MAX_S;
use crate::front::chunked::CHUNK_BYTES_MIN;
use crate::front::request::KEY_BYTES_MAX;
use crate::front::time::SKEW_MAX_S;
use crate::handler;

/// A number of bytes in the largest unit of which it is a multiple.
fn bytes(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut count, mut unit) = (count, 0);
    while count >= 1024 && count % 1024 == 0 && unit + 1 < units.len() {
        (count, unit) = (count / 1024, unit + 1);
    }
    format!("{count} {}", units[unit])
}

fn thousands(count: u64) -> String {
    if count < 1000 { count.to_string() } else { format!("{},{:03}", count / 1000, count % 1000) }
}

/// The table.
pub(crate) fn table() -> String {
    let rows = [
        ("an object", bytes(handler::OBJECT_BYTES_MAX)),
        ("one PUT, one part", bytes(super::transfer::PUT_BYTES_MAX)),
        ("one copy, of an object or to a part", bytes(super::copies::COPY_BYTES_MAX)),
        ("a part but the last", format!("at least {}", bytes(handler::PART_BYTES_MIN))),
        ("parts of an upload", thousands(handler::PARTS_MAX.into())),
        ("a chunk of a signed body but the last", format!("at least {}", bytes(CHUNK_BYTES_MIN))),
        ("a key", bytes(KEY_BYTES_MAX as u64)),
        ("metadata of an object, names and values", bytes(super::given::METADATA_BYTES_MAX as u64)),
        ("tags of an object; of a bucket", {
            format!("{}; {}", super::attributes::OBJECT_TAGS_MAX, super::attributes::BUCKET_TAGS_MAX)
        }),
        ("keys of a page of a list", thousands(super::lists::PAGE_MAX as u64)),
        ("keys of one DeleteObjects", thousands(super::objects::DELETED_MAX as u64)),
        ("buckets; access keys", {
            format!("{}; {}", thousands(handler::BUCKETS_MAX as u64), thousands(handler::KEYS_MAX as u64))
        }),
        ("a bucket's policy", bytes(POLICY_BYTES_MAX as u64)),
        ("grants of an access control list", GRANTS_MAX.to_string()),
        ("rules of CORS; of a lifecycle", {
            let (cors, lifecycle) = (super::settings::CORS_RULES_MAX, super::lifecycle::RULES_MAX);
            format!("{cors}; {}", thousands(lifecycle as u64))
        }),
        ("a document, such as a list of keys or parts", bytes(super::service::DOCUMENT_BYTES_MAX as u64)),
        ("a browser's form, with its file", bytes(super::forms::FORM_BYTES_MAX as u64)),
        ("validity of a presigned URL", format!("{} days", EXPIRES_MAX_S / 86_400)),
        ("difference of the clocks of client and node", format!("{} minutes", SKEW_MAX_S / 60)),
        ("an upload of bytes without progress", format!("{} hour", handler::INTENT_US / 3_600_000_000)),
    ];
    let rows: String = rows.iter().map(|(what, limit)| format!("| {what} | {limit} |\n")).collect();
    format!("| what | at most |\n|---|---|\n{rows}")
}
