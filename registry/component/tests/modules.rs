//! Modules made by hand: what becomes a component, and what is refused in which words.

use recoil_component::{ComponentError, componentize};
use wasmparser::{Parser, Payload, Validator};

/// What every module has that exchanges bytes with the host.
const PLUMBING: &str = r#"
    (memory (export "memory") 1)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 8)"#;

const HANDLER: &str =
    r#"(func (export "recoil:plugin/handler@0.1.0#handle") (param i32 i32) (result i32) i32.const 8)"#;

fn module(imports: &str, exports: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {imports} {PLUMBING} {exports})")).unwrap()
}

fn refusal(imports: &str, exports: &str) -> String {
    componentize(&module(imports, exports)).unwrap_err().to_string()
}

/// Names of what the component imports and exports.
fn shape(component: &[u8]) -> (Vec<String>, Vec<String>) {
    Validator::new().validate_all(component).unwrap();
    let (mut imports, mut exports, mut depth) = (Vec::new(), Vec::new(), 0);
    for payload in Parser::new(0).parse_all(component) {
        match payload.unwrap() {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                imports.extend(section.into_iter().map(|import| import.unwrap().name.name.to_owned()));
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                exports.extend(section.into_iter().map(|export| export.unwrap().name.name.to_owned()));
            }
            _ => {}
        }
    }
    (imports, exports)
}

#[test]
fn a_component_has_the_roles_and_imports_of_its_module_and_no_others() {
    let made = componentize(&module("", HANDLER)).unwrap();
    assert_eq!(shape(&made), (vec![], vec!["recoil:plugin/handler@0.1.0".to_owned()]));

    let storage = r#"(import "recoil:plugin/storage@0.1.0" "get" (func (param i32 i32 i32)))"#;
    let timer = r#"(func (export "recoil:plugin/timer@0.1.0#fire") (param i32 i32 i32 i32) (result i32) i32.const 8)
        (func (export "cabi_post_recoil:plugin/timer@0.1.0#fire") (param i32))
        (func (export "_initialize"))
        (func (export "of_no_concern"))"#;
    let made = componentize(&module(storage, &format!("{HANDLER} {timer}"))).unwrap();
    assert_eq!(
        shape(&made),
        (
            vec!["recoil:plugin/storage@0.1.0".to_owned()],
            vec!["recoil:plugin/handler@0.1.0".to_owned(), "recoil:plugin/timer@0.1.0".to_owned()]
        )
    );
}

#[test]
fn resources_come_with_what_their_role_needs() {
    let imports = r#"
        (import "recoil:plugin/tcp@0.1.0" "[method]connection.read" (func (param i32 i32 i32)))
        (import "recoil:plugin/tcp@0.1.0" "[resource-drop]connection" (func (param i32)))"#;
    let serve = r#"(func (export "recoil:plugin/tcp-listener@0.1.0#serve") (param i32) (result i32) i32.const 8)"#;
    let (imports, exports) = shape(&componentize(&module(imports, serve)).unwrap());
    assert!(imports.contains(&"recoil:plugin/tcp@0.1.0".to_owned()), "{imports:?}");
    assert_eq!(exports, ["recoil:plugin/tcp-listener@0.1.0"]);
}

#[test]
fn wasi_is_translated_if_it_is_used() {
    let random = r#"(import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))"#;
    let (imports, _) = shape(&componentize(&module(random, HANDLER)).unwrap());
    assert!(imports.iter().any(|name| name.starts_with("wasi:random/random@0.2.")), "{imports:?}");
    assert!(!imports.iter().any(|name| name.starts_with("wasi:filesystem/")), "{imports:?}");

    let unknown = r#"(import "wasi_snapshot_preview1" "sock_open" (func (param i32 i32 i32) (result i32)))"#;
    let error = refusal(unknown, HANDLER);
    assert!(error.contains("sock_open") && error.contains("no such function"), "{error}");
    let other = r#"(import "wasi_snapshot_preview1" "random_get" (func (param i64)))"#;
    let error = refusal(other, HANDLER);
    assert!(error.contains("(i64) -> ()") && error.contains("(i32, i32) -> (i32)"), "{error}");
}

#[test]
fn a_description_that_is_there_does_not_matter() {
    let described = format!(r#"{HANDLER} (@custom "component-type:other" "whatever it says") (@custom "kept" "text")"#);
    let made = componentize(&module("", &described)).unwrap();
    assert!(made.windows(4).any(|window| window == b"kept"));
    assert!(!made.windows(16).any(|window| window == b"whatever it says"));
    shape(&made);
}

#[test]
fn a_component_stays_as_it_is() {
    let component = wat::parse_str("(component)").unwrap();
    assert_eq!(componentize(&component).unwrap(), component);
}

#[test]
fn what_is_declared_and_not_linked_is_named() {
    let imports = r#"(import "env" "foo" (func)) (import "env" "bar" (func (param i32)))"#;
    let error = refusal(imports, HANDLER);
    assert!(error.contains("imports foo, bar from env") && error.contains("not linked"), "{error}");
    let imports: String = (0..100).map(|number| format!(r#"(import "env" "f{number}" (func))"#)).collect();
    let error = refusal(&imports, HANDLER);
    assert!(error.contains("and 84 more") && error.len() < 1000, "{error}");
    let error = refusal(&format!(r#"(import "env" "\1b[2J{}" (func))"#, "x".repeat(10_000)), HANDLER);
    assert!(error.contains(r"\u{1b}[2Jxxx") && error.len() < 1000, "{error}");
}

#[test]
fn imports_that_nodes_do_not_have_are_named_with_those_they_have() {
    let error = refusal(r#"(import "wasi:cli/environment@0.2.0" "get-environment" (func (param i32)))"#, HANDLER);
    assert!(
        error.contains("get-environment from 'wasi:cli/environment@0.2.0'")
            && error.contains("recoil:plugin/storage@0.1.0"),
        "{error}"
    );
    let error = refusal(r#"(import "recoil:plugin/storage@0.9.0" "get" (func (param i32 i32 i32)))"#, HANDLER);
    assert!(error.contains("recoil:plugin/storage@0.9.0") && error.contains("recoil:plugin/storage@0.1.0"), "{error}");
    let error = refusal(r#"(import "recoil:plugin/storage@0.1.0" "fetch" (func (param i32 i32 i32)))"#, HANDLER);
    assert!(error.contains("fetch") && error.contains("get-many"), "{error}");
    let error = refusal(r#"(import "recoil:plugin/storage@0.1.0" "get" (func (param i32)))"#, HANDLER);
    assert!(error.contains("as (i32) -> ()") && error.contains("(i32, i32, i32) -> ()"), "{error}");
    let error = refusal(r#"(import "recoil:plugin/storage@0.1.0" "get" (global i32))"#, HANDLER);
    assert!(error.contains("as a table, a global or a tag"), "{error}");
}

#[test]
fn exports_that_are_no_roles_are_named_with_those_that_are() {
    let error = refusal("", r#"(func (export "recoil:plugin/handlr@0.1.0#handle"))"#);
    assert!(
        error.contains("'recoil:plugin/handlr@0.1.0#handle'") && error.contains("recoil:plugin/handler@0.1.0#handle"),
        "{error}"
    );
    let error = refusal("", r#"(func (export "recoil:plugin/storage@0.1.0#get"))"#);
    assert!(error.contains("no role's function"), "{error}");
    let error = refusal("", r#"(func (export "recoil:plugin/handler@0.1.0#handle") (param i32))"#);
    assert!(error.contains("exports recoil:plugin/handler@0.1.0#handle as (i32) -> ()"), "{error}");
    let error = refusal("", r#"(func (export "_start"))"#);
    assert!(error.contains("recoil:plugin/handler@0.1.0#handle") && error.contains("reactor"), "{error}");
    assert!(refusal("", "").contains("has no role"));
    let error = refusal(
        "",
        &format!(r#"{HANDLER} (func (export "cabi_post_recoil:plugin/handler@0.1.0#handle") (param i64))"#),
    );
    assert!(error.contains("cabi_post_recoil:plugin/handler@0.1.0#handle"), "{error}");
}

#[test]
fn what_the_host_needs_is_missed() {
    let handler = |more: &str| wat::parse_str(format!("(module {more} {HANDLER})")).unwrap();
    let error = componentize(&handler("")).unwrap_err().to_string();
    assert!(error.contains("does not export cabi_realloc"), "{error}");
    let realloc = r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 8)"#;
    let error = componentize(&handler(realloc)).unwrap_err().to_string();
    assert!(error.contains("does not export its memory"), "{error}");
}

#[test]
fn what_nodes_do_not_run_is_refused() {
    for text in [r#"(module (memory i64 1))"#, r#"(module (memory 1 1 shared))"#, r#"(module (tag))"#] {
        let error = componentize(&wat::parse_str(text).unwrap()).unwrap_err();
        assert!(matches!(error, ComponentError::Invalid { .. }), "{text}: {error}");
    }
    for bytes in [&b""[..], b"\0asm", b"#!/bin/sh", b"\0asm\x01\0\0\0\x01"] {
        assert!(matches!(componentize(bytes), Err(ComponentError::Invalid { .. } | ComponentError::NoRole { .. })));
    }
}

#[test]
fn no_damage_makes_it_panic() {
    let imports = r#"
        (import "recoil:plugin/router@0.1.0" "submit" (func (param i32 i32 i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))"#;
    let names = r#"(func (export "canonical_abi_realloc")) (table (export "cabi_realloc_adapter") 1 funcref)"#;
    let whole = module(imports, HANDLER);
    componentize(&whole).unwrap();
    assert!(componentize(&module(imports, &format!("{HANDLER} {names}"))).is_err());
    for end in 0..whole.len() {
        let _ = componentize(&whole[..end]);
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        if let Ok(made) = componentize(&damaged) {
            shape(&made);
        }
    }
}
