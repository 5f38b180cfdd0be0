//! Joins two core modules, the .NET runtime and the shim that stands between it and the contract, without a linker.
//!
//! The runtime imports functions of a browser from `env`, which the shim exports. The shim imports functions of the runtime from
//! `dotnet`, and shares its memory and its table. Everything else either imports stays imported. Code is copied with its indexes
//! moved; what neither side needs by then (names, producers) is left out.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;

use wasm_encoder::reencode::{self, Reencode};
use wasmparser::{
    ConstExpr, DataKind, DataSectionReader, ElementItems, ElementKind, ElementSectionReader, ExternalKind, FuncType,
    FunctionBody, GlobalSectionReader, MemorySectionReader, Operator, Parser, Payload, TableSectionReader, TypeRef,
};

/// Where the runtime imports the browser's functions from.
const BROWSER: &str = "env";
/// Where the shim imports the runtime's functions from.
const RUNTIME: &str = "dotnet";
/// A module's memory at its start has at most this many bytes.
const MEMORY_BYTES_MAX: usize = 64 << 20;

/// Why two modules do not fit, or one is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No module, or not one that this reads.
    #[error("is no module that can be linked: {0}")]
    Module(String),
    /// What one imports the other does not have.
    #[error("`{name}` of `{module}` is imported, but {why}")]
    Import {
        /// From where.
        module: &'static str,
        /// The function.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
}

impl From<wasmparser::BinaryReaderError> for LinkError {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        LinkError::Module(error.to_string())
    }
}

impl From<reencode::Error> for LinkError {
    fn from(error: reencode::Error) -> Self {
        LinkError::Module(error.to_string())
    }
}

fn unknown(what: &str) -> LinkError {
    LinkError::Module(format!("it has {what}"))
}

/// An imported function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Import<'a> {
    /// From where.
    pub(crate) module: &'a str,
    /// Its name there.
    pub(crate) name: &'a str,
    type_index: u32,
}

/// As much of a core module as linking needs.
#[derive(Default)]
pub(crate) struct CoreModule<'a> {
    /// Imported functions, in order.
    pub(crate) imports: Vec<Import<'a>>,
    /// What is exported: its name, its kind, its index.
    pub(crate) exports: Vec<(&'a str, ExternalKind, u32)>,
    /// The functions in the table's slots.
    pub(crate) elements: HashMap<u32, u32>,
    /// What memory holds at the start.
    pub(crate) memory: Vec<u8>,
    types: Vec<FuncType>,
    functions: Vec<u32>,
    bodies: Vec<FunctionBody<'a>>,
    globals: u32,
    table_section: Option<TableSectionReader<'a>>,
    memory_section: Option<MemorySectionReader<'a>>,
    global_section: Option<GlobalSectionReader<'a>>,
    element_section: Option<ElementSectionReader<'a>>,
    data_section: Option<DataSectionReader<'a>>,
}

impl<'a> CoreModule<'a> {
    /// Reads a module.
    pub(crate) fn parse(wasm: &'a [u8]) -> Result<Self, LinkError> {
        wasmparser::Validator::new().validate_all(wasm)?;
        let mut module = CoreModule::default();
        for payload in Parser::new(0).parse_all(wasm) {
            module.take(payload?)?;
        }
        Ok(module)
    }

    fn take(&mut self, payload: Payload<'a>) -> Result<(), LinkError> {
        match payload {
            Payload::TypeSection(types) => {
                self.types = types.into_iter_err_on_gc_types().collect::<Result<_, _>>()?;
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    match import.ty {
                        TypeRef::Func(type_index) => {
                            self.imports.push(Import { module: import.module, name: import.name, type_index });
                        }
                        // The shim's, which become the runtime's own.
                        TypeRef::Memory(_) | TypeRef::Table(_) => {}
                        _ => return Err(unknown("an import that is no function")),
                    }
                }
            }
            Payload::FunctionSection(functions) => self.functions = functions.into_iter().collect::<Result<_, _>>()?,
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    self.exports.push((export.name, export.kind, export.index));
                }
            }
            Payload::TableSection(tables) => self.table_section = Some(tables),
            Payload::MemorySection(memories) => self.memory_section = Some(memories),
            Payload::GlobalSection(globals) => {
                self.globals = globals.count();
                self.global_section = Some(globals);
            }
            Payload::ElementSection(elements) => {
                self.element_section = Some(elements.clone());
                self.take_elements(elements)?;
            }
            Payload::DataSection(data) => {
                self.data_section = Some(data.clone());
                self.take_data(data)?;
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            _ => {}
        }
        Ok(())
    }

    fn take_elements(&mut self, elements: ElementSectionReader<'a>) -> Result<(), LinkError> {
        for element in elements {
            let element = element?;
            let ElementKind::Active { offset_expr, .. } = element.kind else { return Err(unknown("passive elements")) };
            let ElementItems::Functions(functions) = element.items else {
                return Err(unknown("elements that are no functions"));
            };
            for (slot, function) in (constant(&offset_expr)?..).zip(functions) {
                self.elements.insert(slot, function?);
            }
        }
        Ok(())
    }

    fn take_data(&mut self, data: DataSectionReader<'a>) -> Result<(), LinkError> {
        for segment in data {
            let segment = segment?;
            let DataKind::Active { offset_expr, .. } = segment.kind else { continue };
            let start = constant(&offset_expr)? as usize;
            let end = start.checked_add(segment.data.len()).filter(|end| *end <= MEMORY_BYTES_MAX);
            let end = end.ok_or_else(|| unknown("data where no memory is"))?;
            if self.memory.len() < end {
                self.memory.resize(end, 0);
            }
            self.memory[start..end].copy_from_slice(segment.data);
        }
        Ok(())
    }

    /// The type of an imported or own function.
    pub(crate) fn function_type(&self, function: u32) -> Option<&FuncType> {
        let imported = self.imports.len();
        let type_index = match (function as usize).checked_sub(imported) {
            None => self.imports[function as usize].type_index,
            Some(own) => *self.functions.get(own)?,
        };
        self.types.get(type_index as usize)
    }

    /// The type of an import.
    pub(crate) fn import_type(&self, import: &Import) -> Option<&FuncType> {
        self.types.get(import.type_index as usize)
    }

    fn exported_function(&self, name: &str) -> Option<u32> {
        let found = self.exports.iter().find(|(export, kind, _)| *export == name && *kind == ExternalKind::Func);
        found.map(|(_, _, index)| *index)
    }
}

fn constant(expression: &ConstExpr) -> Result<u32, LinkError> {
    match expression.get_operators_reader().read()? {
        Operator::I32Const { value } => Ok(value as u32),
        _ => Err(unknown("a place that is not a constant")),
    }
}

/// Where the things of one module are in the joint one.
#[derive(Default)]
struct Places {
    functions: Vec<u32>,
    types: u32,
    globals: u32,
}

impl Reencode for Places {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, reencode::Error> {
        Ok(self.functions[function as usize])
    }

    fn type_index(&mut self, type_index: u32) -> Result<u32, reencode::Error> {
        Ok(type_index + self.types)
    }

    fn global_index(&mut self, global: u32) -> Result<u32, reencode::Error> {
        Ok(global + self.globals)
    }
}

/// The runtime and the shim as one module. It exports the runtime's functions and memory, and the shim's functions but those that
/// only the runtime wants.
pub(crate) fn link(runtime: &CoreModule, shim: &CoreModule) -> Result<Vec<u8>, LinkError> {
    let mut imports = wasm_encoder::ImportSection::new();
    let mut of_runtime = Places::default();
    let mut of_shim = Places { types: runtime.types.len() as u32, globals: runtime.globals, functions: Vec::new() };
    let mut next = 0;
    for (module, places, inner) in [(shim, &mut of_shim, RUNTIME), (runtime, &mut of_runtime, BROWSER)] {
        for import in &module.imports {
            // What the other has is put in below.
            places.functions.push(next);
            if import.module != inner {
                let function = wasm_encoder::EntityType::Function(import.type_index + places.types);
                imports.import(import.module, import.name, function);
                next += 1;
            }
        }
    }
    for (module, places) in [(runtime, &mut of_runtime), (shim, &mut of_shim)] {
        let own = module.functions.len() as u32;
        places.functions.extend(next..next + own);
        next += own;
    }
    resolve(runtime, &mut of_runtime, BROWSER, shim, &of_shim)?;
    resolve(shim, &mut of_shim, RUNTIME, runtime, &of_runtime)?;

    let exports = exports(runtime, &of_runtime, shim, &of_shim);
    let mut types = wasm_encoder::TypeSection::new();
    let mut functions = wasm_encoder::FunctionSection::new();
    let mut tables = wasm_encoder::TableSection::new();
    let mut memories = wasm_encoder::MemorySection::new();
    let mut globals = wasm_encoder::GlobalSection::new();
    let mut elements = wasm_encoder::ElementSection::new();
    let mut code = wasm_encoder::CodeSection::new();
    let mut data = wasm_encoder::DataSection::new();
    // The shim's elements come last: they take slots of the runtime's.
    for (module, places) in [(runtime, &mut of_runtime), (shim, &mut of_shim)] {
        for function_type in &module.types {
            types.ty().func_type(&places.func_type(function_type.clone())?);
        }
        module.functions.iter().for_each(|type_index| {
            functions.function(type_index + places.types);
        });
        if let Some(section) = module.table_section.clone() {
            places.parse_table_section(&mut tables, section)?;
        }
        if let Some(section) = module.memory_section.clone() {
            places.parse_memory_section(&mut memories, section)?;
        }
        if let Some(section) = module.global_section.clone() {
            places.parse_global_section(&mut globals, section)?;
        }
        if let Some(section) = module.element_section.clone() {
            places.parse_element_section(&mut elements, section)?;
        }
        if let Some(section) = module.data_section.clone() {
            places.parse_data_section(&mut data, section)?;
        }
        for body in &module.bodies {
            places.parse_function_body(&mut code, body.clone())?;
        }
    }
    let mut joint = wasm_encoder::Module::new();
    joint.section(&types).section(&imports).section(&functions).section(&tables).section(&memories);
    joint.section(&globals).section(&exports).section(&elements);
    joint.section(&wasm_encoder::DataCountSection { count: data.len() }).section(&code).section(&data);
    Ok(joint.finish())
}

/// Puts in where the functions are that `importer` imports from the other module.
fn resolve(
    importer: &CoreModule,
    places: &mut Places,
    from: &'static str,
    exporter: &CoreModule,
    of_exporter: &Places,
) -> Result<(), LinkError> {
    for (number, import) in importer.imports.iter().enumerate().filter(|(_, import)| import.module == from) {
        let failed = |why| LinkError::Import { module: from, name: import.name.to_owned(), why };
        let function = exporter.exported_function(import.name).ok_or_else(|| failed("nothing provides it"))?;
        if exporter.function_type(function) != importer.import_type(import) {
            return Err(failed("what provides it is of another type"));
        }
        places.functions[number] = of_exporter.functions[function as usize];
    }
    Ok(())
}

fn exports(
    runtime: &CoreModule,
    of_runtime: &Places,
    shim: &CoreModule,
    of_shim: &Places,
) -> wasm_encoder::ExportSection {
    let mut exports = wasm_encoder::ExportSection::new();
    for (name, kind, index) in &runtime.exports {
        match kind {
            ExternalKind::Func => {
                exports.export(name, wasm_encoder::ExportKind::Func, of_runtime.functions[*index as usize]);
            }
            ExternalKind::Memory => {
                exports.export(name, wasm_encoder::ExportKind::Memory, *index);
            }
            _ => {}
        }
    }
    let browser = runtime.imports.iter().filter(|import| import.module == BROWSER);
    let inner: HashSet<&str> = browser.map(|import| import.name).collect();
    for (name, kind, index) in &shim.exports {
        if *kind == ExternalKind::Func && !inner.contains(name) {
            exports.export(name, wasm_encoder::ExportKind::Func, of_shim.functions[*index as usize]);
        }
    }
    exports
}

/// The module without custom sections, and with those exports only that `keep` names.
pub(crate) fn keep_exports(wasm: &[u8], keep: impl Fn(&str) -> bool) -> Result<Vec<u8>, LinkError> {
    let mut module = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ExportSection(exports) => {
                let mut kept = wasm_encoder::ExportSection::new();
                for export in exports {
                    let export = export?;
                    if keep(export.name) {
                        kept.export(export.name, export.kind.into(), export.index);
                    }
                }
                module.section(&kept);
            }
            Payload::CustomSection(_) => {}
            payload => {
                if let Some((id, range)) = payload.as_section() {
                    module.section(&wasm_encoder::RawSection { id, data: &wasm[range] });
                }
            }
        }
    }
    Ok(module.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNTIME_TEXT: &str = r#"(module
        (type $unused (func))
        (import "env" "log" (func $log (param i32)))
        (import "wasi" "now" (func $now (result i64)))
        (table 4 funcref) (elem (i32.const 1) $malloc $log)
        (memory (export "memory") 1) (data (i32.const 8) "runtime")
        (global $top (mut i32) (i32.const 64))
        (func $malloc (export "malloc") (param i32) (result i32) (call $log (local.get 0)) (global.get $top))
        (func (export "time") (result i64) (call $now)))"#;
    const SHIM_TEXT: &str = r#"(module
        (import "host" "print" (func $print (param i32 i32)))
        (import "dotnet" "malloc" (func $malloc (param i32) (result i32)))
        (import "dotnet" "memory" (memory 1))
        (import "dotnet" "__indirect_function_table" (table 1 funcref))
        (global $calls (mut i32) (i32.const 0))
        (func $door (param i32) (result i32) (local.get 0))
        (elem (i32.const 1) $door)
        (func (export "log") (param i32) (global.set $calls (i32.const 1)) (call $print (local.get 0) (global.get $calls)))
        (func (export "handle") (param i32) (result i32) (call $malloc (local.get 0))))"#;

    fn joint(runtime: &str, shim: &str) -> Result<Vec<u8>, LinkError> {
        let (runtime, shim) = (wat::parse_str(runtime).unwrap(), wat::parse_str(shim).unwrap());
        link(&CoreModule::parse(&runtime)?, &CoreModule::parse(&shim)?)
    }

    #[test]
    fn the_joint_module_is_valid_and_imports_what_neither_has() {
        let joint = joint(RUNTIME_TEXT, SHIM_TEXT).unwrap();
        let module = CoreModule::parse(&joint).unwrap();
        let imports: Vec<_> = module.imports.iter().map(|import| (import.module, import.name)).collect();
        assert_eq!(imports, [("host", "print"), ("wasi", "now")]);
        let exports: Vec<_> = module.exports.iter().map(|(name, ..)| *name).collect();
        assert_eq!(exports, ["memory", "malloc", "time", "handle"]);
        assert_eq!(module.memory, b"\0\0\0\0\0\0\0\0runtime");
        // Two imports; the runtime's malloc and time; then the shim's door, which has taken malloc's slot, and log.
        assert_eq!((module.elements[&1], module.elements[&2]), (4, 5));

        let kept = keep_exports(&joint, |name| name == "handle").unwrap();
        let kept: Vec<_> =
            CoreModule::parse(&kept).unwrap().exports.iter().map(|(name, ..)| name.to_string()).collect();
        assert_eq!(kept, ["handle"]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let why = |runtime: &str, shim: &str| joint(runtime, shim).unwrap_err().to_string();
        let renamed = SHIM_TEXT.replace("\"log\"", "\"print\"");
        assert_eq!(why(RUNTIME_TEXT, &renamed), "`log` of `env` is imported, but nothing provides it");
        let other = RUNTIME_TEXT.replace("(func $log (param i32))", "(func $log (param i32 i32))");
        let other = other.replace("(call $log (local.get 0))", "(call $log (local.get 0) (local.get 0))");
        assert_eq!(why(&other, SHIM_TEXT), "`log` of `env` is imported, but what provides it is of another type");
        let less = RUNTIME_TEXT.replace("(export \"malloc\")", "");
        assert_eq!(why(&less, SHIM_TEXT), "`malloc` of `dotnet` is imported, but nothing provides it");
        assert!(matches!(CoreModule::parse(b"no module"), Err(LinkError::Module(_))));
        let far = "(module (memory 1) (data (i32.const -1) \"x\"))";
        assert!(matches!(CoreModule::parse(&wat::parse_str(far).unwrap()), Err(LinkError::Module(_))));
    }
}
