"""A component is mended in the one place that needs it, and one that is not as expected is refused."""

import unittest

from recoil_build import BuildError
from recoil_build.mend import mend

MODULE = b"\0asm\1\0\0\0"
COMPONENT = b"\0asm\x0d\0\1\0"
I32 = b"\x7f"
POP_LIST_TYPE = b"\x60\3" + I32 * 3 + b"\1" + I32
DEALLOC_TYPE = b"\x60\5" + I32 * 5 + b"\0"
EMPTY = b"\2\0\x0b"  # a body without locals that ends at once


def section(kind: int, *elements: bytes) -> bytes:
    content = bytes([len(elements)]) + b"".join(elements)
    return bytes([kind, len(content)]) + content


def name(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def component(dealloc_type: bytes = DEALLOC_TYPE, dealloc_name: str = "wit_dylib_dealloc_bytes") -> bytes:
    """A component with a runtime: functions 0 is imported, 1 takes lists, 2 frees."""
    module = b"".join(
        [
            MODULE,
            section(1, POP_LIST_TYPE, dealloc_type),
            section(2, name("env") + name("memory") + b"\2\0\1", name("env") + name("f") + b"\0\0"),
            section(3, b"\0", b"\1"),
            section(7, name("wit_dylib_pop_list") + b"\0\1", name(dealloc_name) + b"\0\2"),
            section(10, EMPTY, EMPTY),
        ]
    )
    other = MODULE + section(1, DEALLOC_TYPE)
    return COMPONENT + b"".join(bytes([1, len(part)]) + part for part in (other, module))


class MendTest(unittest.TestCase):
    def test_the_export_names_a_function_that_calls_both(self) -> None:
        mended = mend(component())
        between = bytes.fromhex("01017f 200020012002 1001 2103 2002280200 0440 2000 2002280200 2003 41014101 1002 0b 2003 0b")
        self.assertIn(section(3, b"\0", b"\1", b"\0"), mended)
        self.assertIn(name("wit_dylib_pop_list") + b"\0\3", mended)
        self.assertIn(section(10, EMPTY, EMPTY, bytes([len(between)]) + between), mended)
        self.assertIn(MODULE + section(1, DEALLOC_TYPE), mended, "other modules stay as they are")

    def test_another_runtime_is_refused(self) -> None:
        for unknown in (
            COMPONENT,
            component(dealloc_type=b"\x60\4" + I32 * 4 + b"\0"),
            component(dealloc_name="another"),
        ):
            with self.assertRaisesRegex(BuildError, "requirements.txt"):
                mend(unknown)


if __name__ == "__main__":
    unittest.main()
