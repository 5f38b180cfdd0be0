"""Has componentize-py make the component: of a world with just the exports that the package has, and of a module that gives
each export its class.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from recoil_build import BuildError
from recoil_build.mend import mend
from recoil_build.roles import Role

SDK = Path(__file__).parent.parent
CONTRACT = SDK.parent.parent / "wit"

# Run by the Python that has componentize-py; an AssertionError is how that says what went wrong.
COMPONENTIZE = """
import sys, componentize_py
try:
    componentize_py.script()
except AssertionError as error:
    sys.exit(str(error))
"""


def make(python: Path, module: str, roles: dict[Role, str], extra: list[Path], output: Path) -> None:
    """Makes the component `output` of the package in the current folder."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="recoil-build-") as scratch:
        wit, main, nothing = (Path(scratch, name) for name in ("wit", "main", "nothing"))
        (nothing / "lib" / "site-packages").mkdir(parents=True)
        main.mkdir()
        (main / "recoil_main.py").write_text(_main(module, roles))
        shutil.copytree(CONTRACT, wit / "deps" / "recoil", ignore=lambda _, names: [n for n in names if n[-4:] != ".wit"])
        (wit / "world.wit").write_text(_world(roles))
        made = Path(scratch, "made.wasm")
        folders = [Path.cwd(), *extra, SDK, main]
        paths = [f"--python-path={folder.resolve()}" for folder in folders]
        componentize: list[str | Path] = [python, "-I", "-c", COMPONENTIZE, "--quiet", "--wit-path", wit, "--world", "built"]
        ran = subprocess.run(
            [*componentize, "componentize", *paths, "--output", made, "recoil_main"],
            # No other packages than those named, whatever environment is active here; nor backtraces of the tool itself.
            env=os.environ | {"VIRTUAL_ENV": str(nothing), "RUST_BACKTRACE": "0"},
            capture_output=True,
            text=True,
        )
        if ran.returncode != 0:
            raise BuildError(_why(ran.stderr or ran.stdout, folders))
        # Renamed, so that there is never half a component; beside it, for a rename stays on one file system.
        beside = output.with_name(f"{output.name}.new")
        beside.write_bytes(mend(made.read_bytes()))
        beside.replace(output)


def _world(roles: dict[Role, str]) -> str:
    text = (CONTRACT / "world.wit").read_text()
    if not (declared := re.search(r"^package recoil:plugin@(\S+);", text, re.MULTILINE)):
        raise BuildError(f"{CONTRACT} is not the contract: put it back as it came with recoilctl")
    version = declared.group(1)
    exports = "".join(f"  export recoil:plugin/{role.export}@{version};\n" for role in roles)
    return f"package recoil:assembly;\nworld built {{\n  include recoil:plugin/platform@{version};\n{exports}}}\n"


def _main(module: str, roles: dict[Role, str]) -> str:
    lines = [f"import {module}", "from recoil import _export", ""]
    lines += [f"{role.protocol} = _export.{role.maker}({module}.{name})" for role, name in roles.items()]
    return "\n".join([*lines, "_export.start()", ""])


def _why(output: str, folders: list[Path]) -> str:
    """What componentize-py says, with the names that files have on this machine."""
    text = output.split("\nStack backtrace:")[0].strip()
    if text.startswith("Traceback"):
        text = text.split("\nCaused by:")[0].strip()  # which says the same again
    for at, folder in enumerate(folders):
        text = text.replace(f'File "/{at}/', f'File "{folder}/')
    return text
