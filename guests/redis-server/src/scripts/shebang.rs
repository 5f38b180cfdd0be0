//! The first line of a script or library: `#!lua name=mylib flags=no-writes,allow-stale`.

/// The script writes nothing.
pub(crate) const NO_WRITES: u8 = 1 << 0;
/// Runs when memory is short. Here it changes nothing, as do those below.
const ALLOW_OOM: u8 = 1 << 1;
const ALLOW_STALE: u8 = 1 << 2;
const NO_CLUSTER: u8 = 1 << 3;
const ALLOW_CROSS_SLOT_KEYS: u8 = 1 << 4;
/// The script has no first line of this kind, and so no flags.
pub(crate) const COMPATIBLE: u8 = 1 << 7;

/// Flags by their names.
pub(crate) const FLAG_NAMES: [(u8, &str); 5] = [
    (ALLOW_OOM, "allow-oom"),
    (ALLOW_STALE, "allow-stale"),
    (ALLOW_CROSS_SLOT_KEYS, "allow-cross-slot-keys"),
    (NO_CLUSTER, "no-cluster"),
    (NO_WRITES, "no-writes"),
];

/// The flag of that name.
pub(crate) fn flag(name: &[u8]) -> Option<u8> {
    FLAG_NAMES.iter().find(|(_, known)| known.as_bytes() == name).map(|(flag, _)| *flag)
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// The first line without its end, and what follows from that end on, so that lines keep their numbers.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    Some(text.split_at(end))
}

/// The words of a line.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty())
}

/// Flags and text of a script.
pub(crate) fn of_script(text: &[u8]) -> Result<(u8, &[u8]), String> {
    if !text.starts_with(b"#!") {
        return Ok((COMPATIBLE, text));
    }
    let (line, text) = split(text).ok_or("ERR Invalid script shebang")?;
    let mut words = words(line);
    let engine = words.next().unwrap_or_default();
    if engine != b"#!lua" {
        return Err(format!("ERR Unexpected engine in script shebang: {}", lossy(engine)));
    }
    let mut flags = 0;
    for word in words {
        let names =
            word.strip_prefix(b"flags=").ok_or_else(|| format!("ERR Unknown lua shebang option: {}", lossy(word)))?;
        for name in names.split(|byte| *byte == b',').filter(|name| !name.is_empty()) {
            flags |= flag(name).ok_or_else(|| format!("ERR Unexpected flag in script shebang: {}", lossy(name)))?;
        }
    }
    Ok((flags, text))
}

/// Name and text of a library.
pub(crate) fn of_library(text: &[u8]) -> Result<(&str, &[u8]), String> {
    if !text.starts_with(b"#!") {
        return Err("ERR Missing library metadata".to_owned());
    }
    let (line, rest) = split(text).ok_or("ERR Invalid library metadata")?;
    let mut words = words(line);
    let engine = words.next().unwrap_or_default().strip_prefix(b"#!").unwrap_or_default();
    let mut name = None;
    for word in words {
        match word.strip_prefix(b"name=") {
            Some(value) if name.is_none() => name = Some(value),
            Some(_) => return Err("ERR Invalid metadata value, name argument was given multiple times".to_owned()),
            None => return Err(format!("ERR Invalid metadata value given: {}", lossy(word))),
        }
    }
    let name = name.ok_or("ERR Library name was not given")?;
    let name = std::str::from_utf8(name).ok().filter(|name| is_name(name)).ok_or(BAD_NAME)?;
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err(format!("ERR Engine '{}' not found", lossy(engine)));
    }
    Ok((name, rest))
}

/// The error of a name that is none.
pub(crate) const BAD_NAME: &str = "ERR Library names can only contain letters, numbers, or underscores(_) and must be at \
                                   least one character long";

/// True for what libraries and functions may be called.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
