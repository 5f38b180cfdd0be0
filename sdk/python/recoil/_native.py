"""What stands in for the host outside a component, where there is no call to ask it about: in tests and while building."""

import sys
import tomllib
from functools import cache
from pathlib import Path

_NO_GROUP = "there is no Raft group outside a cluster: test this on one, such as recoil_simulator's"

overrides: dict[str, str] = {}
"""Settings that a test gave."""


@cache
def _defaults(manifest: Path) -> dict[str, str]:
    try:
        listed = tomllib.loads(manifest.read_text()).get("setting", [])
    except FileNotFoundError:
        return {}
    return {setting["name"]: setting_text(setting["default"]) for setting in listed}


def setting_text(value: str | int | bool) -> str:
    """A setting's value as the host gives it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def setting(name: str) -> str | None:
    """The value that a test gave, or the default of the manifest in the current folder."""
    return overrides.get(name, _defaults(Path.cwd() / "recoil.toml").get(name))


def write_log(level: str, message: str) -> None:
    """Standard error is where test runners look."""
    print(f"{level}: {message}", file=sys.stderr)


def group_status() -> tuple[int, str, int, int | None, int, int, list[int]]:
    """There is no group here."""
    raise RuntimeError(_NO_GROUP)


def barrier() -> int:
    """There is no group here."""
    raise RuntimeError(_NO_GROUP)
