//! What answers are completed with.

use super::*;

#[test]
fn control_characters_become_references() {
    assert_eq!(escape_controls(b"<Key>a\x01\n</Key>"), b"<Key>a&#x1;&#xA;</Key>");
    assert_eq!(escape("<a&\"b\">"), "&lt;a&amp;&quot;b&quot;&gt;");
}

#[test]
fn what_cannot_be_a_range_or_a_time_is_ignored() {
    assert!(is_for_s3s("range", "bytes=0-9") && is_for_s3s("range", "bytes=-5"));
    assert!(
        !is_for_s3s("range", "bytes=0-1,5-6") && !is_for_s3s("range", "lines=1-2") && !is_for_s3s("range", "bytes=9-1")
    );
    assert!(!is_for_s3s("if-modified-since", "yesterday"));
    assert!(!is_for_s3s("authorization", "AWS4-HMAC-SHA256 …"));
}
