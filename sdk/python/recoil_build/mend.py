"""Mends componentize-py's runtime, which keeps every byte string that it has handed to the host.

For the host to read them, the runtime copies the byte strings among a call's arguments and results (`wit_dylib_pop_list`).
What calls it leaves these copies to the runtime to free, and componentize-py 0.25.1 does not: an instance would lose as much
memory as it sends. The runtime has a list of what to free at the end of a call, though, and a function that adds to it
(`wit_dylib_dealloc_bytes` with `defer`). So this puts a function between, which calls the first and has the second note the copy.

Only whole sections are rewritten: the function is the module's last, so that no other changes its number, and the export by
which others find `wit_dylib_pop_list` names it instead. A runtime in which these are not as they were is refused rather than
mended. A version of componentize-py that frees the copies itself must not be mended: they would be freed twice.
"""

from __future__ import annotations

from recoil_build import BuildError

POP_LIST = "wit_dylib_pop_list"
DEALLOC_BYTES = "wit_dylib_dealloc_bytes"

_I32 = b"\x7f"
_POP_LIST_TYPE = b"\x60\x03" + _I32 * 3 + b"\x01" + _I32  # (context, type, where to put the pointer) -> length
_DEALLOC_BYTES_TYPE = b"\x60\x05" + _I32 * 5 + b"\x00"  # (context, pointer, length, alignment, defer)

_PREAMBLE_BYTES = 8
# Sections: of a component, then of a module.
_CORE_MODULE = 1
_TYPE, _IMPORT, _FUNCTION, _EXPORT, _CODE = 1, 2, 3, 7, 10


def mend(component: bytes) -> bytes:
    """The component with its runtime mended."""
    sections = _sections(component)
    for at, (kind, content) in enumerate(sections):
        if kind == _CORE_MODULE and POP_LIST.encode() in content and (mended := _mend_module(content)):
            sections[at] = kind, mended
            return component[:_PREAMBLE_BYTES] + _joined(sections)
    raise _unknown()


def _unknown() -> BuildError:
    return BuildError("componentize-py made a component that this SDK does not know: use the version in its requirements.txt")


def _mend_module(module: bytes) -> bytes | None:
    """The module with the function between; None if it is not the one that exports what the function is about."""
    sections = dict(_sections(module))  # the sections of interest are there once
    if _EXPORT not in sections:
        return None
    exports = _exports(sections[_EXPORT])
    if POP_LIST not in exports:
        return None
    if DEALLOC_BYTES not in exports:
        raise _unknown()
    imported = _imported_functions(sections[_IMPORT])
    types, functions = _types(sections[_TYPE]), _numbers(sections[_FUNCTION])
    pop_list, dealloc_bytes = exports[POP_LIST], exports[DEALLOC_BYTES]
    pop_list_type = functions[pop_list - imported]
    if (types[pop_list_type], types[functions[dealloc_bytes - imported]]) != (_POP_LIST_TYPE, _DEALLOC_BYTES_TYPE):
        raise _unknown()
    between = imported + len(functions)
    body = _between(pop_list, dealloc_bytes)
    export = _name(POP_LIST) + b"\x00"
    changed = {
        _FUNCTION: _more(sections[_FUNCTION], _leb(pop_list_type)),
        _EXPORT: sections[_EXPORT].replace(export + _leb(pop_list), export + _leb(between), 1),
        _CODE: _more(sections[_CODE], _leb(len(body)) + body),
    }
    return module[:_PREAMBLE_BYTES] + _joined([(kind, changed.get(kind, content)) for kind, content in _sections(module)])


def _between(pop_list: int, dealloc_bytes: int) -> bytes:
    """The body of the function: the length, and the pointer if there is one, go to what frees them later."""
    context, type, pointer, length = (b"\x20" + bytes([local]) for local in range(4))  # local.get
    load = pointer + b"\x28\x02\x00"  # i32.load
    one = b"\x41\x01"  # i32.const 1
    return b"".join(
        [
            b"\x01\x01" + _I32,  # one local more: the length
            context + type + pointer + b"\x10" + _leb(pop_list) + b"\x21\x03",  # call, local.set
            load + b"\x04\x40",  # if
            context + load + length + one + one + b"\x10" + _leb(dealloc_bytes),  # call
            b"\x0b",  # end
            length + b"\x0b",
        ]
    )


def _leb(value: int) -> bytes:
    """An unsigned number, seven bits a byte."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _number(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _name(text: str) -> bytes:
    return _leb(len(text)) + text.encode()


def _skip_name(data: bytes, at: int) -> int:
    length, at = _number(data, at)
    return at + length


def _sections(data: bytes) -> list[tuple[int, bytes]]:
    """Kind and content of the sections of a component or module."""
    sections = []
    at = _PREAMBLE_BYTES
    while at < len(data):
        kind = data[at]
        length, at = _number(data, at + 1)
        sections.append((kind, data[at : at + length]))
        at += length
    return sections


def _joined(sections: list[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes([kind]) + _leb(len(content)) + content for kind, content in sections)


def _more(section: bytes, element: bytes) -> bytes:
    """A section that is a list, with one element more."""
    count, at = _number(section, 0)
    return _leb(count + 1) + section[at:] + element


def _numbers(section: bytes) -> list[int]:
    count, at = _number(section, 0)
    numbers = []
    for _ in range(count):
        number, at = _number(section, at)
        numbers.append(number)
    return numbers


def _types(section: bytes) -> list[bytes]:
    """The function types of a module, as they are encoded: value types are one byte each."""
    count, at = _number(section, 0)
    types = []
    for _ in range(count):
        start = at
        parameters, at = _number(section, at + 1)
        results, at = _number(section, at + parameters)
        at += results
        types.append(section[start:at])
    return types


def _exports(section: bytes) -> dict[str, int]:
    """The functions that a module exports."""
    count, at = _number(section, 0)
    functions = {}
    for _ in range(count):
        end = _skip_name(section, at)
        name = section[_number(section, at)[1] : end].decode()
        kind = section[end]
        index, at = _number(section, end + 1)
        if kind == 0:
            functions[name] = index
    return functions


def _imported_functions(section: bytes) -> int:
    """How many functions a module imports."""
    count, at = _number(section, 0)
    functions = 0
    for _ in range(count):
        at = _skip_name(section, _skip_name(section, at))
        kind = section[at]
        at += 1
        if kind == 0:  # a function: its type
            functions += 1
            _, at = _number(section, at)
        elif kind == 3:  # a global: its type, and whether it changes
            at += 2
        else:  # a table or a memory: a table's type, then limits
            at += kind == 1
            has_maximum = section[at] & 1
            _, at = _number(section, at + 1)
            if has_maximum:
                _, at = _number(section, at)
    return functions
