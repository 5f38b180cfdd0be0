//! The contract of packages in `wit/`: it parses as one package, has one interface a file, and says what everything means.

use std::collections::BTreeSet;

use recoil_cluster_tests::root;
use wit_parser::{Docs, Resolve, TypeDefKind};

/// Functions whose name and types say it all once their interface has spoken. Others must speak for themselves.
const SAID_BY_THE_INTERFACE: [&str; 9] = [
    "consensus.status",
    "partition.current",
    "router.locate",
    "router.partitions",
    "router.wait",
    "state-machine.apply",
    "storage.get",
    "storage.put",
    "storage.remove-range",
];

fn resolve() -> (Resolve, wit_parser::PackageId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root().join("wit")).expect("wit/ parses");
    (resolve, package)
}

fn is_documented(docs: &Docs) -> bool {
    docs.contents.as_deref().is_some_and(|text| !text.trim().is_empty())
}

#[test]
fn one_interface_a_file_named_after_it() {
    let (resolve, package) = resolve();
    let package = &resolve.packages[package];
    assert_eq!(package.name.to_string(), "recoil:plugin@0.1.0");
    let interfaces: BTreeSet<String> = package.interfaces.keys().cloned().collect();
    let files: BTreeSet<String> = std::fs::read_dir(root().join("wit"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wit"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "world")
        .collect();
    assert_eq!(interfaces, files);
    let worlds: Vec<&String> = package.worlds.keys().collect();
    assert_eq!(worlds, ["platform", "plugin", "http-plugin", "data-plugin", "scheduler-plugin"]);
}

#[test]
fn every_interface_and_everything_that_fails_is_documented() {
    let (resolve, package) = resolve();
    for (name, id) in &resolve.packages[package].interfaces {
        let interface = &resolve.interfaces[*id];
        assert!(is_documented(&interface.docs), "interface {name} says nothing");
        for (type_name, id) in &interface.types {
            let TypeDefKind::Variant(variant) = &resolve.types[*id].kind else { continue };
            // An error is acted on, so each case of one says when it comes, itself or for all of them together.
            let whole = is_documented(&resolve.types[*id].docs);
            for case in variant.cases.iter().filter(|_| type_name == "error" && !whole) {
                assert!(is_documented(&case.docs), "{name}: error {} says nothing", case.name);
            }
        }
    }
    for (name, id) in &resolve.packages[package].worlds {
        assert!(name == "scheduler-plugin" || is_documented(&resolve.worlds[*id].docs), "world {name} says nothing");
    }
}

#[test]
fn functions_are_plain_and_documented() {
    let (resolve, package) = resolve();
    let mut silent = Vec::new();
    for (name, id) in &resolve.packages[package].interfaces {
        for (function_name, function) in &resolve.interfaces[*id].functions {
            assert!(
                !function.kind.is_async(),
                "{name}.{function_name}: tool chains do not mix async functions with plain ones"
            );
            if !is_documented(&function.docs) {
                silent.push(format!("{name}.{function_name}"));
            }
        }
    }
    silent.sort();
    assert_eq!(silent, SAID_BY_THE_INTERFACE);
}
