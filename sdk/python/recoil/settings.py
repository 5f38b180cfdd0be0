"""What the operator has set for this app: the manifest's defaults, and what `recoilctl set` changed.

Read them in a call, or in the `__init__` of a role: the module itself runs when the package is built, where no operator is.
A change is seen by calls that begin later. In a native test the values are the defaults of the `recoil.toml` in the current
folder; `recoil.fake.settings` changes them for a while.
"""

import sys

if sys.platform == "wasi":
    from recoil import _host as _here
else:
    from recoil import _native as _here


def get(name: str) -> str | None:
    """The value of a setting as text, or None if the manifest has no such setting."""
    return _here.setting(name)


def text(name: str) -> str:
    """The value of a setting; `LookupError` if the manifest has no such setting."""
    value = get(name)
    if value is None:
        raise LookupError(f"there is no setting {name!r}: add a [[setting]] of that name to recoil.toml")
    return value


def integer(name: str) -> int:
    """The value of a setting whose default is a number; `ValueError` if it is none."""
    return int(text(name))


def boolean(name: str) -> bool:
    """The value of a setting whose default is true or false; `ValueError` if it is neither."""
    value = text(name)
    if value not in ("true", "false"):
        raise ValueError(f"the setting {name!r} is {value!r}, neither true nor false")
    return value == "true"
