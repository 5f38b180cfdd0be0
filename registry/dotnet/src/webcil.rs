//! Webcil: how the class library travels in npm packages for browsers. A .NET assembly without the parts of a PE file that only Windows
//! reads, as the second passive data segment of a WebAssembly module without code.
//!
//! The runtime loads the bare image, compilers want a PE file around it. Format: docs/design/mono/webcil.md of dotnet/runtime, version 0.
//!
//! Everything here comes from a file, which may be damaged: nothing is read or written outside of it.

use wasmparser::{Parser, Payload};

/// What an image begins with.
const MAGIC: &[u8; 4] = b"WbIL";
/// `magic | version major u16, minor u16 | sections u16 | reserved u16 | CLI header at u32, bytes u32 | debug directory at u32, bytes u32`.
const HEADER_BYTES: usize = 28;
/// `bytes u32 | address u32 | bytes in the file u32 | where in the file u32`.
const SECTION_BYTES: usize = 16;
/// More than compilers make; what is made of them must fit the PE file's headers.
const SECTIONS_MAX: usize = 8;
/// An assembly has at most this many bytes.
const IMAGE_BYTES_MAX: usize = 64 << 20;

/// Of the PE file: its headers, and what sections are aligned to in the file and in memory.
const PE_HEADER_BYTES: u32 = 1024;
const FILE_ALIGNMENT: u32 = 512;
const MEMORY_ALIGNMENT: u32 = 0x2000;
const COFF_AT: usize = 128;
const OPTIONAL_AT: usize = COFF_AT + 24;
const OPTIONAL_BYTES: usize = 224;
/// The directory entry of the CLI header.
const CLI_AT: usize = OPTIONAL_AT + 96 + 14 * 8;

/// Why a file is no assembly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebcilError {
    /// The wrapper is not a module.
    #[error("is neither an assembly nor a WebAssembly module that holds one: {0}")]
    Wrapper(String),
    /// The image contradicts itself.
    #[error("holds a damaged assembly: {0}")]
    Image(&'static str),
}

/// One of an image's sections.
struct Section {
    bytes: u32,
    address: u32,
    stored: std::ops::Range<usize>,
}

/// A number of a file, which may end before it.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// As [`u16_at`].
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The image in its wrapper; none in a module that holds no assembly, as the runtime itself.
pub(crate) fn unwrap(wrapper: &[u8]) -> Result<Option<&[u8]>, WebcilError> {
    for payload in Parser::new(0).parse_all(wrapper) {
        let malformed = |error: wasmparser::BinaryReaderError| WebcilError::Wrapper(error.to_string());
        let Payload::DataSection(segments) = payload.map_err(malformed)? else { continue };
        let Some(segment) = segments.into_iter().nth(1) else { return Ok(None) };
        let image = segment.map_err(malformed)?.data;
        return Ok(image.starts_with(MAGIC).then_some(image));
    }
    Ok(None)
}

/// A PE file around an image, with as much of its headers as compilers look at.
pub(crate) fn to_pe(image: &[u8]) -> Result<Vec<u8>, WebcilError> {
    let (sections, cli) = read(image)?;
    let mut files = Vec::with_capacity(sections.len());
    let mut end = PE_HEADER_BYTES;
    for section in &sections {
        files.push(end);
        end = (end + section.stored.len() as u32).next_multiple_of(FILE_ALIGNMENT);
    }
    let last = sections.last().ok_or(WebcilError::Image("it has no sections"))?;
    let memory = last.address.checked_add(last.bytes).and_then(|end| end.checked_next_multiple_of(MEMORY_ALIGNMENT));
    let memory = memory.ok_or(WebcilError::Image("its sections are too large"))?;

    let mut file = vec![0; end as usize];
    let mut put = |at: usize, value: &[u8]| file[at..at + value.len()].copy_from_slice(value);
    put(0, b"MZ");
    put(60, &(COFF_AT as u32).to_le_bytes());
    put(COFF_AT, b"PE\0\0");
    put(COFF_AT + 4, &0x14c_u16.to_le_bytes()); // the machine that means any
    put(COFF_AT + 6, &(sections.len() as u16).to_le_bytes());
    put(COFF_AT + 20, &(OPTIONAL_BYTES as u16).to_le_bytes());
    put(COFF_AT + 22, &0x2102_u16.to_le_bytes()); // an executable image, 32 bits, a library
    put(OPTIONAL_AT, &0x10b_u16.to_le_bytes()); // PE32
    put(OPTIONAL_AT + 2, &[48]); // the linker's version
    for (at, value) in [
        (28, 0x40_0000), // where it wants to lie
        (32, MEMORY_ALIGNMENT),
        (36, FILE_ALIGNMENT),
        (40, 4), // the system's version
        (48, 4), // the subsystem's version
        (56, memory),
        (60, PE_HEADER_BYTES),
        (68, 0x8540_0003), // a console's, with what every managed library has
        (92, 16),          // directory entries
    ] {
        put(OPTIONAL_AT + at, &value.to_le_bytes());
    }
    put(CLI_AT, &cli.0.to_le_bytes());
    put(CLI_AT + 4, &cli.1.to_le_bytes());
    for (number, (section, at)) in sections.iter().zip(files).enumerate() {
        let header = OPTIONAL_AT + OPTIONAL_BYTES + 40 * number;
        put(header, &[b'.', b's', b'0' + number as u8]);
        for (field, value) in [
            (8, section.bytes),
            (12, section.address),
            (16, section.stored.len() as u32),
            (20, at),
            (36, 0x6000_0020), // code, to be read and run
        ] {
            put(header + field, &value.to_le_bytes());
        }
        put(at as usize, &image[section.stored.clone()]);
    }
    Ok(file)
}

/// Whether a file is a PE file with a CLI header, as the C# compiler makes them: the runtime ends without a word if it is not.
pub(crate) fn check_pe(file: &[u8]) -> Result<(), WebcilError> {
    let wrong = |why| Err(WebcilError::Image(why));
    let Some(at) = u32_at(file, 60).map(|at| at as usize).filter(|_| file.starts_with(b"MZ")) else {
        return wrong("it is no PE file");
    };
    let field = |place: usize| u32_at(file, at.checked_add(place)?);
    if field(0) != Some(u32::from_le_bytes(*b"PE\0\0")) {
        return wrong("it has no PE header");
    }
    if file.get(at + OPTIONAL_AT - COFF_AT..).and_then(|optional| u16_at(optional, 0)) != Some(0x10b) {
        return wrong("it is not for any machine: compile it for AnyCPU");
    }
    if field(CLI_AT - COFF_AT).unwrap_or(0) == 0 {
        return wrong("it has no managed code");
    }
    Ok(())
}

/// The sections, and where the CLI header lies and how large it is.
fn read(image: &[u8]) -> Result<(Vec<Section>, (u32, u32)), WebcilError> {
    let early = || WebcilError::Image("it ends early");
    if image.len() > IMAGE_BYTES_MAX {
        return Err(WebcilError::Image("it is too large"));
    }
    if !image.starts_with(MAGIC) || u16_at(image, 4) != Some(0) {
        return Err(WebcilError::Image("it is of a version that is not known"));
    }
    let count = usize::from(u16_at(image, 8).ok_or_else(early)?);
    if count == 0 || count > SECTIONS_MAX {
        return Err(WebcilError::Image("it has no sections, or too many"));
    }
    let cli = (u32_at(image, 12).ok_or_else(early)?, u32_at(image, 16).ok_or_else(early)?);
    let sections = (0..count).map(|number| {
        let field = |place: usize| u32_at(image, HEADER_BYTES + SECTION_BYTES * number + 4 * place).ok_or_else(early);
        let (start, length) = (field(3)? as usize, field(2)? as usize);
        let stored = start..start.checked_add(length).ok_or_else(early)?;
        if image.get(stored.clone()).is_none() {
            return Err(WebcilError::Image("a section lies outside of it"));
        }
        Ok(Section { bytes: field(0)?, address: field(1)?, stored })
    });
    let sections = sections.collect::<Result<Vec<_>, _>>()?;
    // Or a small image would make a large file.
    if sections.iter().map(|section| section.stored.len()).sum::<usize>() > image.len() {
        return Err(WebcilError::Image("its sections overlap"));
    }
    Ok((sections, cli))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Of two sections, of 6 and of 700 bytes.
    fn image() -> Vec<u8> {
        let mut image = MAGIC.to_vec();
        image.extend([0_u16, 0, 2, 0].iter().flat_map(|value| value.to_le_bytes()));
        image.extend([0x2008_u32, 72, 0, 0].iter().flat_map(|value| value.to_le_bytes()));
        image.extend([6_u32, 0x2000, 6, 60, 900, 0x4000, 700, 66].iter().flat_map(|value| value.to_le_bytes()));
        image.extend([b'a'; 6]);
        image.extend([b'b'; 700]);
        image
    }

    /// A bare image with one section at an address, where its CLI header lies.
    pub(crate) fn image_of(address: u32, section: &[u8]) -> Vec<u8> {
        let length = section.len() as u32;
        let mut image = [&MAGIC[..], &[0, 0, 0, 0, 1, 0, 0, 0]].concat();
        let start = (HEADER_BYTES + SECTION_BYTES) as u32;
        for value in [address, 72, 0, 0, length, address, length, start] {
            image.extend(value.to_le_bytes());
        }
        image.extend(section);
        image
    }

    fn wrapped(segments: &[&[u8]]) -> Vec<u8> {
        let mut data = wasm_encoder::DataSection::new();
        for segment in segments {
            data.passive(segment.iter().copied());
        }
        let mut module = wasm_encoder::Module::new();
        module.section(&wasm_encoder::DataCountSection { count: segments.len() as u32 }).section(&data);
        module.finish()
    }

    #[test]
    fn an_image_is_found_in_its_wrapper_and_nothing_in_other_modules() {
        let image = image();
        assert_eq!(unwrap(&wrapped(&[&[0; 4], &image])), Ok(Some(&image[..])));
        for module in
            [wrapped(&[]), wrapped(&[&image]), wrapped(&[&[], b"other"]), wasm_encoder::Module::new().finish()]
        {
            assert_eq!(unwrap(&module), Ok(None));
        }
        assert!(matches!(unwrap(b"MZ, perhaps"), Err(WebcilError::Wrapper(_))));
        let whole = wrapped(&[&[0; 4], &image]);
        for length in 9..whole.len() {
            assert!(unwrap(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn sections_keep_their_bytes_and_addresses_in_the_pe_file() {
        let file = to_pe(&image()).unwrap();
        assert_eq!((file.len(), &file[..2], u32_at(&file, 60)), (1024 + 512 + 1024, &b"MZ"[..], Some(128)));
        assert_eq!(&file[COFF_AT..COFF_AT + 4], b"PE\0\0");
        assert_eq!((u32_at(&file, CLI_AT), u32_at(&file, CLI_AT + 4)), (Some(0x2008), Some(72)));
        assert_eq!(u32_at(&file, OPTIONAL_AT + 56), Some(0x6000), "0x4000 and 900 bytes, rounded up");
        assert_eq!(check_pe(&file), Ok(()));
        assert!(file[1024..1030] == [b'a'; 6] && file[1030] == 0 && file[1536..1536 + 700] == [b'b'; 700]);
        let second = OPTIONAL_AT + OPTIONAL_BYTES + 40;
        assert_eq!([12, 16, 20].map(|field| u32_at(&file, second + field)), [Some(0x4000), Some(700), Some(1536)]);
    }

    #[test]
    fn a_damaged_image_is_an_error_and_never_a_panic() {
        let whole = image();
        for length in 0..whole.len() {
            assert!(to_pe(&whole[..length]).is_err(), "{length}");
        }
        for at in 0..60 {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut image = whole.clone();
                image[at] = value;
                let _ = to_pe(&image); // well or not, but no panic
            }
        }
        for (at, value) in [(4, 1), (8, 0), (8, 9), (41, 0xff), (43, 0xff), (39, 0xff), (52, 0xff)] {
            let mut image = whole.clone();
            image[at] = value;
            assert!(matches!(to_pe(&image), Err(WebcilError::Image(_))), "{at}: {value}");
        }
    }

    #[test]
    fn what_is_no_assembly_is_said_and_never_a_panic() {
        let whole = to_pe(&image()).unwrap();
        for length in 0..=CLI_AT {
            assert!(check_pe(&whole[..length]).is_err(), "{length}");
        }
        for (at, value) in [(0, b'Z'), (60, 0), (63, 0xff), (COFF_AT, 0), (OPTIONAL_AT + 1, 2)] {
            let mut file = whole.clone();
            file[at] = value;
            assert!(check_pe(&file).is_err(), "{at}: {value}");
        }
        let mut native = whole.clone();
        native[CLI_AT..CLI_AT + 4].fill(0);
        assert_eq!(check_pe(&native), Err(WebcilError::Image("it has no managed code")));
    }
}
