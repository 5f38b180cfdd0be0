//! Prints the layouts and numbers that the contract gives its types in a module's memory, as C constants: the SDK for C is written by hand
//! on the canonical ABI, and its structures are asserted against these when it is compiled.
//!
//! `cargo run -p recoil-component --example c_layout > sdk/c/host/contract.h` writes them anew; the test says when that is due.

use std::fmt::Write as _;
use std::path::Path;

use wit_parser::{Int, Resolve, SizeAlign, Type, TypeDefKind};

/// The SDK's copy, below this crate.
#[cfg(test)]
const COMMITTED: &str = include_str!("../../../sdk/c/host/contract.h");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    print!("{}", header()?);
    Ok(())
}

fn header() -> Result<String, Box<dyn std::error::Error>> {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(&wit).map_err(|error| format!("{error:#}"))?;
    let mut sizes = SizeAlign::default();
    sizes.fill(&resolve);
    let mut lines = Lines { text: String::new(), resolve: &resolve, sizes: &sizes };
    lines.text.push_str(
        "/*\n * The contract's layouts and numbers. Generated, not edited: registry/component/examples/c_layout.rs.\n */\n",
    );
    for (name, id) in &resolve.packages[package].interfaces {
        let interface = &resolve.interfaces[*id];
        for (type_name, id) in &interface.types {
            lines.define_type(&format!("{name}-{type_name}"), &resolve.types[*id].kind, &Type::Id(*id));
        }
        for function in interface.functions.values() {
            if let Some(Type::Id(id)) = function.result
                && resolve.types[id].name.is_none()
            {
                let plain = function.name.rsplit(']').next().unwrap_or_default().replace('.', "-");
                lines.define_type(&format!("{name}-{plain}"), &resolve.types[id].kind, &Type::Id(id));
            }
        }
    }
    Ok(lines.text)
}

struct Lines<'a> {
    text: String,
    resolve: &'a Resolve,
    sizes: &'a SizeAlign,
}

impl Lines<'_> {
    fn define(&mut self, name: &str, number: usize) {
        let name = name.replace('-', "_").to_uppercase();
        let _ = writeln!(self.text, "#define WIT_{name} {number}");
    }

    fn define_size(&mut self, name: &str, of: &Type) {
        self.define(&format!("{name}-size"), self.sizes.size(of).size_wasm32());
    }

    fn define_payload(&mut self, name: &str, of: &Type, tag: Int, cases: &[Option<Type>]) {
        self.define_size(name, of);
        let at = self.sizes.payload_offset(tag, cases.iter().map(Option::as_ref));
        self.define(&format!("{name}-payload-at"), at.size_wasm32());
    }

    fn define_type(&mut self, name: &str, kind: &TypeDefKind, of: &Type) {
        match kind {
            TypeDefKind::Record(record) => {
                self.define_size(name, of);
                let offsets = self.sizes.field_offsets(record.fields.iter().map(|field| &field.ty));
                for (field, (at, _)) in record.fields.iter().zip(offsets) {
                    self.define(&format!("{name}-{}-at", field.name), at.size_wasm32());
                }
            }
            TypeDefKind::Variant(variant) => {
                let cases: Vec<_> = variant.cases.iter().map(|case| case.ty).collect();
                self.define_payload(name, of, variant.tag(), &cases);
                variant
                    .cases
                    .iter()
                    .enumerate()
                    .for_each(|(at, case)| self.define(&format!("{name}-{}", case.name), at));
            }
            TypeDefKind::Enum(cases) => {
                cases.cases.iter().enumerate().for_each(|(at, case)| self.define(&format!("{name}-{}", case.name), at));
            }
            TypeDefKind::Option(some) => self.define_payload(name, of, Int::U8, &[None, Some(*some)]),
            TypeDefKind::Result(result) => self.define_payload(name, of, Int::U8, &[result.ok, result.err]),
            TypeDefKind::List(Type::Id(item)) => {
                self.define_type(&format!("{name}-item"), &self.resolve.types[*item].kind, &Type::Id(*item));
            }
            _ => {}
        }
    }
}

#[test]
fn the_sdk_for_c_has_the_contracts_layouts() {
    assert_eq!(
        COMMITTED,
        header().unwrap(),
        "the contract has changed: cargo run -p recoil-component --example c_layout > sdk/c/host/contract.h"
    );
}
