//! What an assembly says of itself: its name and version, the assemblies it refers to, the native libraries it calls.
//!
//! Of the metadata only those tables are read; of all before them, how long their rows are. Format: ECMA-335, sixth edition, II.24.2 (the
//! streams) and II.22 (the tables); II.25 is the PE file around it.
//!
//! Everything here comes from a file, which may be damaged: nothing is read outside of it. Deliberately absent: code and types, which the
//! runtime reads.

use std::collections::BTreeSet;

use crate::webcil::{WebcilError, u16_at, u32_at};

/// The version of an assembly: major, minor, build, revision.
pub(crate) type Version = [u16; 4];

/// What an assembly says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Its name, by which others refer to it, whatever its file is called.
    pub(crate) name: String,
    pub(crate) version: Version,
    /// The names of assemblies that it refers to.
    pub(crate) references: BTreeSet<String>,
    /// The native libraries whose functions it calls.
    pub(crate) native: BTreeSet<String>,
}

/// Of the PE file: where its header is said to be, and where the directory entry of the CLI header lies behind it, in a file of 32 bits.
const PE_AT: usize = 60;
const CLI_ENTRY: usize = 24 + 96 + 14 * 8;
/// Sections are as many as a PE file may have.
const SECTIONS_MAX: u16 = 96;
const SECTION_BYTES: usize = 40;
/// Tables that are read.
const MODULE_REF: usize = 0x1a;
const IMPL_MAP: usize = 0x1c;
const ASSEMBLY: usize = 0x20;
const ASSEMBLY_REF: usize = 0x23;
/// Names are at most this long (II.22).
const NAME_BYTES_MAX: usize = 1023;

/// A column of a table.
#[derive(Clone, Copy)]
enum Column {
    /// A number of that many bytes.
    Bytes(usize),
    /// Indexes into the heaps.
    Text,
    Guid,
    Blob,
    /// A row of a table.
    Row(usize),
    /// A row of one of several tables, which so many bits tell.
    Coded(u32, &'static [usize]),
}

use Column::{Blob, Bytes, Coded, Guid, Row, Text};

const TYPE: Column = Coded(2, &[0x02, 0x01, 0x1b]);
const METHOD: Column = Coded(1, &[0x06, 0x0a]);
const ATTRIBUTED: &[usize] = &[
    0x06, 0x04, 0x01, 0x02, 0x08, 0x09, 0x0a, 0x00, 0x0e, 0x17, 0x14, 0x11, 0x1a, 0x1b, 0x20, 0x23, 0x26, 0x27, 0x28,
    0x2a, 0x2c, 0x2b,
];

/// The tables up to that of references, by their numbers (II.22).
const TABLES: [&[Column]; ASSEMBLY_REF + 1] = [
    &[Bytes(2), Text, Guid, Guid, Guid],                         // Module
    &[Coded(2, &[0x00, 0x1a, 0x23, 0x01]), Text, Text],          // TypeRef
    &[Bytes(4), Text, Text, TYPE, Row(0x04), Row(0x06)],         // TypeDef
    &[Row(0x04)],                                                // FieldPtr
    &[Bytes(2), Text, Blob],                                     // Field
    &[Row(0x06)],                                                // MethodPtr
    &[Bytes(4), Bytes(4), Text, Blob, Row(0x08)],                // MethodDef
    &[Row(0x08)],                                                // ParamPtr
    &[Bytes(4), Text],                                           // Param
    &[Row(0x02), TYPE],                                          // InterfaceImpl
    &[Coded(3, &[0x02, 0x01, 0x1a, 0x06, 0x1b]), Text, Blob],    // MemberRef
    &[Bytes(2), Coded(2, &[0x04, 0x08, 0x17]), Blob],            // Constant
    &[Coded(5, ATTRIBUTED), Coded(3, &[0x06, 0x0a]), Blob],      // CustomAttribute
    &[Coded(1, &[0x04, 0x08]), Blob],                            // FieldMarshal
    &[Bytes(2), Coded(2, &[0x02, 0x06, 0x20]), Blob],            // DeclSecurity
    &[Bytes(6), Row(0x02)],                                      // ClassLayout
    &[Bytes(4), Row(0x04)],                                      // FieldLayout
    &[Blob],                                                     // StandAloneSig
    &[Row(0x02), Row(0x14)],                                     // EventMap
    &[Row(0x14)],                                                // EventPtr
    &[Bytes(2), Text, TYPE],                                     // Event
    &[Row(0x02), Row(0x17)],                                     // PropertyMap
    &[Row(0x17)],                                                // PropertyPtr
    &[Bytes(2), Text, Blob],                                     // Property
    &[Bytes(2), Row(0x06), Coded(1, &[0x14, 0x17])],             // MethodSemantics
    &[Row(0x02), METHOD, METHOD],                                // MethodImpl
    &[Text],                                                     // ModuleRef
    &[Blob],                                                     // TypeSpec
    &[Bytes(2), Coded(1, &[0x04, 0x06]), Text, Row(MODULE_REF)], // ImplMap
    &[Bytes(4), Row(0x04)],                                      // FieldRVA
    &[Bytes(8)],                                                 // EncLog
    &[Bytes(4)],                                                 // EncMap
    &[Bytes(4), Bytes(8), Bytes(4), Blob, Text, Text],           // Assembly
    &[Bytes(4)],                                                 // AssemblyProcessor
    &[Bytes(12)],                                                // AssemblyOS
    &[Bytes(8), Bytes(4), Blob, Text, Text, Blob],               // AssemblyRef
];

fn early() -> WebcilError {
    WebcilError::Image("its metadata ends early")
}

/// Reads the metadata of a PE file.
pub(crate) fn read(file: &[u8]) -> Result<Metadata, WebcilError> {
    let root = root(file)?;
    let version = u32_at(root, 12).ok_or_else(early)? as usize;
    let mut at = version.checked_add(16).ok_or_else(early)?;
    let streams = u16_at(root, at.checked_add(2).ok_or_else(early)?).ok_or_else(early)?;
    at += 4;
    let (mut tables, mut texts) = (None, None);
    for _ in 0..streams {
        let (start, length) = (u32_at(root, at).ok_or_else(early)?, u32_at(root, at + 4).ok_or_else(early)?);
        let name = root.get(at + 8..).and_then(|name| name.split(|byte| *byte == 0).next()).ok_or_else(early)?;
        let stream = (start as usize).checked_add(length as usize).and_then(|end| root.get(start as usize..end));
        match name {
            b"#~" => tables = stream,
            b"#Strings" => texts = stream,
            _ => {}
        }
        at += 8 + (name.len() + 1).next_multiple_of(4);
    }
    let (Some(tables), Some(texts)) = (tables, texts) else {
        return Err(WebcilError::Image("its metadata has no tables"));
    };
    Tables::new(tables, texts)?.metadata()
}

/// The metadata's beginning, and all behind it.
fn root(file: &[u8]) -> Result<&[u8], WebcilError> {
    let pe = u32_at(file, PE_AT).ok_or_else(early)? as usize;
    let cli = u32_at(file, pe.saturating_add(CLI_ENTRY)).ok_or_else(early)?;
    let cli = at_address(file, pe, cli)?;
    let metadata = u32_at(cli, 8).ok_or_else(early)?;
    let root = at_address(file, pe, metadata)?;
    if !root.starts_with(b"BSJB") {
        return Err(WebcilError::Image("it has no metadata"));
    }
    Ok(root)
}

/// What lies at an address, as the file's sections have it, and all behind it.
fn at_address(file: &[u8], pe: usize, address: u32) -> Result<&[u8], WebcilError> {
    let count = u16_at(file, pe + 6).ok_or_else(early)?.min(SECTIONS_MAX);
    let optional = u16_at(file, pe + 20).ok_or_else(early)?;
    for number in 0..usize::from(count) {
        let header = pe + 24 + usize::from(optional) + SECTION_BYTES * number;
        let field = |place: usize| u32_at(file, header + place).ok_or_else(early);
        let (start, length, stored) = (field(12)?, field(16)?, field(20)?);
        if let Some(offset) = address.checked_sub(start).filter(|offset| *offset < length) {
            return file.get(stored.saturating_add(offset) as usize..).ok_or_else(early);
        }
    }
    Err(WebcilError::Image("its metadata lies outside of it"))
}

/// The tables, and the heap of their texts.
struct Tables<'a> {
    texts: &'a [u8],
    bytes: &'a [u8],
    /// Which heaps have indexes of 4 bytes.
    heaps: u8,
    /// Rows, and where the first lies.
    rows: [u32; 64],
    starts: [usize; ASSEMBLY_REF + 1],
}

impl<'a> Tables<'a> {
    fn new(bytes: &'a [u8], texts: &'a [u8]) -> Result<Self, WebcilError> {
        let present = [u32_at(bytes, 8).ok_or_else(early)?, u32_at(bytes, 12).ok_or_else(early)?];
        let heaps = *bytes.get(6).ok_or_else(early)?;
        let mut tables = Tables { texts, bytes, heaps, rows: [0; 64], starts: [0; ASSEMBLY_REF + 1] };
        let mut at = 24;
        for (number, rows) in tables.rows.iter_mut().enumerate() {
            if present[number / 32] & (1 << (number % 32)) != 0 {
                *rows = u32_at(bytes, at).ok_or_else(early)?;
                at += 4;
            }
        }
        for number in 0..TABLES.len() {
            tables.starts[number] = at;
            let length = tables.row_bytes(number).checked_mul(tables.rows[number] as usize);
            at = length.and_then(|length| at.checked_add(length)).ok_or_else(early)?;
        }
        Ok(tables)
    }

    fn row_bytes(&self, table: usize) -> usize {
        TABLES[table].iter().map(|column| self.column_bytes(*column)).sum()
    }

    fn column_bytes(&self, column: Column) -> usize {
        let wide = |is_wide: bool| if is_wide { 4 } else { 2 };
        match column {
            Bytes(bytes) => bytes,
            Text => wide(self.heaps & 1 != 0),
            Guid => wide(self.heaps & 2 != 0),
            Blob => wide(self.heaps & 4 != 0),
            Row(table) => wide(self.rows[table] > 0xffff),
            Coded(bits, tables) => wide(tables.iter().any(|table| self.rows[*table] >> (16 - bits) != 0)),
        }
    }

    /// Where a column of a row lies, the first of which is 0.
    fn place(&self, table: usize, row: usize, column: usize) -> usize {
        let before: usize = TABLES[table][..column].iter().map(|column| self.column_bytes(*column)).sum();
        self.starts[table] + row * self.row_bytes(table) + before
    }

    /// A column that is an index.
    fn index(&self, table: usize, row: usize, column: usize) -> Result<usize, WebcilError> {
        let place = self.place(table, row, column);
        let index = match self.column_bytes(TABLES[table][column]) {
            2 => u16_at(self.bytes, place).map(usize::from),
            _ => u32_at(self.bytes, place).map(|index| index as usize),
        };
        index.ok_or_else(early)
    }

    fn text(&self, table: usize, row: usize, column: usize) -> Result<String, WebcilError> {
        let wrong = || WebcilError::Image("a name of its metadata is none");
        let texts = self.texts.get(self.index(table, row, column)?..).ok_or_else(wrong)?;
        let end = texts.iter().take(NAME_BYTES_MAX + 1).position(|byte| *byte == 0).ok_or_else(wrong)?;
        String::from_utf8(texts[..end].to_vec()).map_err(|_| wrong())
    }

    fn rows(&self, table: usize) -> std::ops::Range<usize> {
        0..self.rows[table] as usize
    }

    fn metadata(&self) -> Result<Metadata, WebcilError> {
        if self.rows[ASSEMBLY] != 1 {
            return Err(WebcilError::Image("it is a module of an assembly, and none itself"));
        }
        let at = self.place(ASSEMBLY, 0, 1);
        let mut version = Version::default();
        for (number, part) in version.iter_mut().enumerate() {
            *part = u16_at(self.bytes, at + 2 * number).ok_or_else(early)?;
        }
        let references = self.rows(ASSEMBLY_REF).map(|row| self.text(ASSEMBLY_REF, row, 3));
        let native = self.rows(IMPL_MAP).map(|row| {
            let module = self.index(IMPL_MAP, row, 3)?;
            let module = module.checked_sub(1).filter(|module| self.rows(MODULE_REF).contains(module));
            self.text(MODULE_REF, module.ok_or_else(early)?, 0)
        });
        Ok(Metadata {
            name: self.text(ASSEMBLY, 0, 4)?,
            version,
            references: references.collect::<Result<_, _>>()?,
            native: native.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What [`assembly`] is made of.
    #[derive(Clone, Default)]
    pub(crate) struct Said<'a> {
        pub(crate) name: &'a str,
        pub(crate) version: Version,
        pub(crate) references: &'a [&'a str],
        pub(crate) native: &'a [&'a str],
        /// Rows of the table of fields, which decide how wide indexes of it are.
        pub(crate) fields: u32,
    }

    fn wide(index: u32, is_wide: bool) -> Vec<u8> {
        if is_wide { index.to_le_bytes().to_vec() } else { (index as u16).to_le_bytes().to_vec() }
    }

    /// Metadata with tables before those that are read, and heaps of short indexes.
    fn metadata_of(said: &Said) -> Vec<u8> {
        let mut texts = vec![0];
        let mut text = |text: &str| {
            let at = texts.len() as u16;
            texts.extend([text.as_bytes(), &[0]].concat());
            at.to_le_bytes()
        };
        let mut rows: Vec<(usize, u32, Vec<u8>)> =
            vec![(0x00, 1, vec![0; 10]), (0x04, said.fields, vec![0; 6 * said.fields as usize])];
        let modules: Vec<u8> = said.native.iter().flat_map(|name| text(name)).collect();
        rows.push((MODULE_REF, said.native.len() as u32, modules));
        // Forwarded members are fields or methods.
        let is_wide = said.fields >> 15 != 0;
        let calls = (1..=said.native.len() as u16)
            .flat_map(|module| [vec![0, 1], wide(1, is_wide), vec![0; 2], module.to_le_bytes().to_vec()].concat());
        rows.push((IMPL_MAP, said.native.len() as u32, calls.collect()));
        let version = said.version.map(u16::to_le_bytes).concat();
        rows.push((ASSEMBLY, 1, [&[0; 4][..], &version, &[0; 6], &text(said.name), &[0; 2]].concat()));
        let references = said.references.iter().flat_map(|name| [&[0; 14][..], &text(name), &[0; 4]].concat());
        rows.push((ASSEMBLY_REF, said.references.len() as u32, references.collect()));
        rows.retain(|(_, count, _)| *count > 0);

        let mut tables = vec![0; 8];
        tables.extend(rows.iter().fold(0u64, |present, (table, _, _)| present | 1 << table).to_le_bytes());
        tables.extend([0; 8]);
        rows.iter().for_each(|(_, count, _)| tables.extend(count.to_le_bytes()));
        rows.iter().for_each(|(_, _, bytes)| tables.extend(bytes));

        let mut root = [&b"BSJB"[..], &[0; 8], &4u32.to_le_bytes(), b"v4\0\0", &[0; 2], &2u16.to_le_bytes()].concat();
        let start = root.len() + 12 + 20;
        for (name, at, length) in
            [(&b"#~\0\0"[..], start, tables.len()), (b"#Strings\0\0\0\0", start + tables.len(), texts.len())]
        {
            root.extend((at as u32).to_le_bytes());
            root.extend((length as u32).to_le_bytes());
            root.extend(name);
        }
        [root, tables, texts].concat()
    }

    /// The bare image of an assembly that says so.
    pub(crate) fn image(said: &Said) -> Vec<u8> {
        let metadata = metadata_of(said);
        let header = [&[0; 8][..], &0x2010u32.to_le_bytes(), &(metadata.len() as u32).to_le_bytes()].concat();
        crate::webcil::tests::image_of(0x2000, &[header, metadata].concat())
    }

    /// Its PE file.
    pub(crate) fn assembly(said: &Said) -> Vec<u8> {
        crate::webcil::to_pe(&image(said)).unwrap()
    }

    const SAID: Said = Said {
        name: "Prose",
        version: [1, 2, 3, 0xffff],
        references: &["netstandard", "Verse"],
        native: &["sqlite3", "libSystem.Native"],
        fields: 3,
    };

    #[test]
    fn an_assembly_is_what_it_says_whatever_lies_before_it() {
        for fields in [0, 3, 0x7fff, 0x8000, 0x1_0000] {
            let metadata = read(&assembly(&Said { fields, ..SAID })).unwrap();
            assert_eq!((&*metadata.name, metadata.version), ("Prose", [1, 2, 3, 0xffff]), "{fields}");
            assert!(metadata.references.iter().eq(["Verse", "netstandard"]), "{metadata:?}");
            assert!(metadata.native.iter().eq(["libSystem.Native", "sqlite3"]), "{metadata:?}");
        }
        let alone = read(&assembly(&Said { references: &[], native: &[], ..SAID })).unwrap();
        assert!(alone.references.is_empty() && alone.native.is_empty(), "{alone:?}");
    }

    #[test]
    fn damaged_metadata_is_an_error_and_never_a_panic() {
        let whole = assembly(&SAID);
        let start = whole.windows(4).position(|window| window == b"BSJB").unwrap();
        let end = whole.len() - whole.iter().rev().take_while(|byte| **byte == 0).count();
        for length in 0..end {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
        for at in start - 16..end {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut file = whole.clone();
                file[at] = value;
                let _ = read(&file); // well or not, but no panic
            }
        }
        let mut other = whole.clone();
        other[start] = b'X';
        assert_eq!(read(&other), Err(WebcilError::Image("it has no metadata")));
    }
}
