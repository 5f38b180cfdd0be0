use super::*;

const KIND: &str = "multipart/form-data; boundary=xyz";

fn body(fields: &[(&str, &str)], file: &str) -> Vec<u8> {
    let mut text = String::new();
    for (name, value) in fields {
        text.push_str(&format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"));
    }
    let head = "Content-Disposition: form-data; name=\"file\"; filename=\"C:\\dir\\a \\\"b\\\".txt\"";
    text.push_str(&format!("--xyz\r\n{head}\r\nContent-Type: text/plain\r\n\r\n{file}\r\n--xyz--\r\n"));
    text.into_bytes()
}

fn code<T: std::fmt::Debug>(outcome: Outcome<T>) -> String {
    outcome.unwrap_err().code().as_str().to_owned()
}

#[test]
fn a_form_is_taken_apart() {
    let form = Form::parse(KIND, &body(&[("kEy", "dir/${filename}"), ("acl", "")], "a\r\n--xy\r\nb")).unwrap();
    assert_eq!(form.fields, [("key".to_owned(), "dir/${filename}".to_owned()), ("acl".to_owned(), String::new())]);
    assert_eq!((form.file.as_slice(), form.file_name.as_str()), (&b"a\r\n--xy\r\nb"[..], "a \"b\".txt"));
    assert_eq!(form.key().unwrap(), "dir/a \"b\".txt");
    let quoted = Form::parse("multipart/form-data; a=\"b;c\"; Boundary=\"xyz\"", &body(&[("key", "k")], "")).unwrap();
    assert_eq!((quoted.key().unwrap().as_str(), quoted.file.len()), ("k", 0));
    assert_eq!(code(Form::parse(KIND, &body(&[], "x")).unwrap().key()), "InvalidArgument");
    let after = [&body(&[("key", "k")], "x")[..], b"--xyz\r\nrubbish"].concat();
    assert_eq!(Form::parse(KIND, &after).unwrap().file, b"x");
}

/// Fails if a form that is cut off anywhere is taken for a whole one, or breaks the parser.
#[test]
fn a_form_that_is_not_whole_is_refused() {
    let whole = body(&[("key", "k"), ("policy", "e30=")], "file");
    let end = whole.len() - b"--\r\n".len();
    for length in 0..end {
        assert!(Form::parse(KIND, &whole[..length]).is_err(), "{length}");
        let mut damaged = whole.clone();
        damaged[length] ^= 0x80;
        let _ = Form::parse(KIND, &damaged);
    }
    for kind in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"x"] {
        assert_eq!(code(Form::parse(kind, &whole)), "MalformedPOSTRequest");
    }
    assert_eq!(code(Form::parse(&format!("a; boundary={}", "b".repeat(201)), &whole)), "MalformedPOSTRequest");
    assert_eq!(code(Form::parse(KIND, &body(&[("a", "1"), ("A", "2")], "x"))), "InvalidArgument");
    let names: Vec<String> = (0..=FIELDS_MAX).map(|number| format!("f{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    assert_eq!(code(Form::parse(KIND, &body(&many, "x"))), "MaxPostPreDataLengthExceededError");
    let long = "v".repeat(FIELDS_BYTES_MAX);
    assert_eq!(code(Form::parse(KIND, &body(&[("f", &long)], "x"))), "MaxPostPreDataLengthExceededError");
    let without = b"--xyz\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--xyz--\r\n";
    assert_eq!(code(Form::parse(KIND, without)), "InvalidArgument");
}

fn check(conditions: &str, fields: &[(&str, &str)], file: &str) -> Outcome<()> {
    let document = format!(r#"{{"expiration":"2026-01-01T00:00:00.000Z","conditions":[{conditions}]}}"#);
    let form = Form::parse(KIND, &body(fields, file)).unwrap();
    let key = form.key()?;
    Policy::parse(document.as_bytes())?.check(&form, "b", &key, 1_767_225_599)
}

#[test]
fn a_form_is_what_its_policy_allows() {
    let fields = [("key", "user/a"), ("x-ignore-this", "1"), ("policy", "p"), ("x-amz-signature", "s")];
    let good = r#"{"bUcKeT":"b"},["StArTs-WiTh","$KeY","user/"]"#;
    check(good, &fields, "x").unwrap();
    check(&format!(r#"{good},["content-length-range",1,"1"]"#), &fields, "x").unwrap();
    let refused = |conditions: &str, fields: &[(&str, &str)], file: &str| code(check(conditions, fields, file));
    assert_eq!(refused(r#"["starts-with","$key","user/"]"#, &fields, "x"), "AccessDenied", "the bucket is left out");
    assert_eq!(refused(r#"{"bucket":"b"},["eq","$key","user/b"]"#, &fields, "x"), "AccessDenied");
    assert_eq!(refused(r#"{"bucket":"c"},["starts-with","$key",""]"#, &fields, "x"), "AccessDenied");
    assert_eq!(refused(good, &[("key", "user/a"), ("acl", "public-read")], "x"), "AccessDenied", "an extra field");
    assert_eq!(refused(&format!(r#"{good},{{"acl":"private"}}"#), &fields, "x"), "AccessDenied", "a missing field");
    assert_eq!(refused(&format!(r#"{good},["content-length-range",2,3]"#), &fields, "x"), "EntityTooSmall");
    assert_eq!(refused(&format!(r#"{good},["content-length-range",0,0]"#), &fields, "x"), "EntityTooLarge");
    for wrong in [
        r#"["content-length-range",0]"#,
        r#"["content-length-range",-1,0]"#,
        r#"["like","$key","a"]"#,
        r#"["eq","key","a"]"#,
        r#"{}"#,
        r#""x""#,
        r#"{"a":1}"#,
    ] {
        assert_eq!(refused(&format!("{good},{wrong}"), &fields, "x"), "InvalidPolicyDocument", "{wrong}");
    }
}

#[test]
fn a_policy_has_an_end() {
    let form = Form::parse(KIND, &body(&[("key", "k")], "")).unwrap();
    let text = r#"{"expiration":"2026-01-01T00:00:00Z","conditions":[{"bucket":"b"},{"key":"k"}]}"#;
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert!(policy.check(&form, "b", "k", 1_767_225_599).is_ok());
    assert_eq!(code(policy.check(&form, "b", "k", 1_767_225_600)), "AccessDenied");
    for wrong in [
        r#"{"conditions":[]}"#,
        r#"{"EXPIRATION":"2026-01-01T00:00:00Z","conditions":[]}"#,
        r#"{"expiration":"2026-01-01 00:00:00","conditions":[]}"#,
        r#"{"expiration":"2026-01-01 00:00:00+00:00","conditions":[]}"#,
        r#"{"expiration":"2026-01-01T00:00:00Z"}"#,
        r#"{"expiration":"2026-01-01T00:00:00Z","CONDITIONS":[]}"#,
        "[",
        "7",
    ] {
        assert_eq!(code(Policy::parse(wrong.as_bytes())), "InvalidPolicyDocument", "{wrong}");
    }
}
