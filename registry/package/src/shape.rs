//! What a component exports and imports, by name: enough to tell an author what is missing before a node does.
//!
//! Only names are looked at, of the outermost component. Whether functions have the right types is for the engine to say.

use wasmparser::{Parser, Payload};

use crate::{Manifest, PackageError, Permission, Protocol};

/// Names of what a component exports and imports, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Such as `recoil:plugin/handler@0.1.0`.
    pub exports: Vec<String>,
    /// Such as `recoil:plugin/storage@0.1.0`.
    pub imports: Vec<String>,
}

/// The shape of a component. Fails if it is none, or damaged.
pub fn shape(archive: &[u8]) -> Result<Shape, PackageError> {
    crate::archive::check_preamble(archive)?;
    let damaged = |error: wasmparser::BinaryReaderError| PackageError::Damaged {
        position: error.offset(),
        why: error.message().to_owned(),
    };
    let (mut shape, mut depth) = (Shape::default(), 0);
    for payload in Parser::new(0).parse_all(archive) {
        match payload.map_err(damaged)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    shape.imports.push(import.map_err(damaged)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    shape.exports.push(export.map_err(damaged)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(shape)
}

impl Shape {
    /// True if an interface of the contract, in a version that this host takes, is among the exports.
    pub fn has_role(&self, role: &str) -> bool {
        self.exports.iter().any(|export| {
            let version = export.strip_prefix("recoil:plugin/").and_then(|rest| rest.strip_prefix(role));
            version.is_some_and(|version| version.starts_with("@0.1."))
        })
    }

    /// True if it answers HTTP requests as `wasi:http` has it: such a component may own no data.
    fn has_incoming_handler(&self) -> bool {
        self.exports.iter().any(|export| export.starts_with("wasi:http/incoming-handler@0.2."))
    }

    /// True if the only role is to plan where partitions live: such a component owns no data either.
    fn is_only_scheduler(&self) -> bool {
        let mut roles = self.exports.iter().filter(|export| export.starts_with("recoil:plugin/"));
        self.has_role("scheduler") && roles.all(|role| role.starts_with("recoil:plugin/scheduler@"))
    }

    /// Permissions that what is imported needs and the manifest does not ask for. Only a hint: some tool chains import what is never called.
    pub fn unasked(&self, manifest: &Manifest) -> Vec<(&str, Permission)> {
        let imported = self.imports.iter().filter_map(|import| {
            let interface = import.strip_prefix("recoil:plugin/")?.split('@').next()?;
            // Of `partition` and `router`, each function needs another; the rest need one for the whole interface.
            let needed = Permission::of(interface, "").filter(|needed| !manifest.permissions.contains(needed))?;
            Some((interface, needed))
        });
        imported.collect()
    }

    /// What the manifest promises and the component does not export.
    pub fn check(&self, manifest: &Manifest) -> Result<(), PackageError> {
        let needed = manifest.listeners.iter().map(|listener| match listener.protocol {
            Protocol::Tcp => ("tcp-listener", format!("listener '{}' with protocol tcp", listener.name)),
            Protocol::Http => ("http-handler", format!("listener '{}' with protocol http", listener.name)),
        });
        let handler = ("handler", "package, as every other,".to_owned());
        let handler = Some(handler).filter(|_| !self.is_only_scheduler());
        for (role, what) in handler.into_iter().chain(needed) {
            let replaced = matches!(role, "handler" | "http-handler") && self.has_incoming_handler();
            if !self.has_role(role) && !replaced {
                let exports = if self.exports.is_empty() { "nothing".to_owned() } else { self.exports.join(", ") };
                return Err(PackageError::MissingExport { role, what, exports });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(listener: &str) -> Manifest {
        let json = format!(r#"{{"name": "a", "version": "1.0.0", "listener": [{listener}]}}"#);
        Manifest::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_manifest_that_promises_more_than_the_component_has_is_told_so() {
        let shape = Shape {
            exports: vec!["recoil:plugin/handler@0.1.0".into(), "recoil:plugin/http-handler@0.1.2".into()],
            imports: vec![],
        };
        shape.check(&manifest("")).unwrap();
        shape.check(&manifest(r#"{"name": "web", "protocol": "http", "port": 1}"#)).unwrap();
        let error = shape.check(&manifest(r#"{"name": "raw", "protocol": "tcp", "port": 1}"#)).unwrap_err().to_string();
        assert!(error.contains("recoil:plugin/tcp-listener") && error.contains("'raw'"), "{error}");
        let error = Shape::default().check(&manifest("")).unwrap_err().to_string();
        assert!(error.contains("recoil:plugin/handler") && error.contains("exports nothing"), "{error}");
        let foreign = Shape { exports: vec!["wasi:http/incoming-handler@0.2.12".into()], imports: vec![] };
        foreign.check(&manifest(r#"{"name": "web", "protocol": "http", "port": 1}"#)).unwrap();
        assert!(foreign.check(&manifest(r#"{"name": "raw", "protocol": "tcp", "port": 1}"#)).is_err());
        let storing =
            Shape { imports: vec!["recoil:plugin/storage@0.1.0".into(), "wasi:io/poll@0.2.6".into()], ..shape };
        assert_eq!(storing.unasked(&manifest("")), [("storage", Permission::Storage)]);
        let mut asking = manifest("");
        asking.permissions.insert(Permission::Storage);
        assert_eq!(storing.unasked(&asking), []);
        let scheduler = Shape { exports: vec!["recoil:plugin/scheduler@0.1.0".into()], imports: vec![] };
        scheduler.check(&manifest("")).unwrap();
        assert!(scheduler.check(&manifest(r#"{"name": "raw", "protocol": "tcp", "port": 1}"#)).is_err());
        let timer =
            Shape { exports: [scheduler.exports, vec!["recoil:plugin/timer@0.1.0".into()]].concat(), imports: vec![] };
        assert!(timer.check(&manifest("")).unwrap_err().to_string().contains("recoil:plugin/handler"));
        let later = Shape { exports: vec!["recoil:plugin/handler@0.2.0".into()], imports: vec![] };
        assert!(later.check(&manifest("")).is_err());
    }

    #[test]
    fn nested_parts_do_not_count() {
        let mut inner = wasm_encoder::Component::new();
        let mut exports = wasm_encoder::ComponentExportSection::new();
        exports.export("inner", wasm_encoder::ComponentExportKind::Type, 0, None);
        let mut types = wasm_encoder::ComponentTypeSection::new();
        types.defined_type().primitive(wasm_encoder::PrimitiveValType::U8);
        inner.section(&types).section(&exports);
        let mut outer = wasm_encoder::Component::new();
        outer.section(&wasm_encoder::NestedComponentSection(&inner));
        assert_eq!(shape(&outer.finish()).unwrap(), Shape::default());
        assert_eq!(shape(&inner.finish()).unwrap().exports, ["inner"]);
        assert!(shape(b"\0asm\x01\0\0\0").unwrap_err().to_string().contains("core module"));
    }
}
