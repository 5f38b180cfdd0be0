"""componentize-py, in the version that `requirements.txt` names, installed once into a cache of its own.

Invariant: a folder in the cache is complete, for it is made beside its place and renamed; whoever loses a race uses what the
winner made. Its name has the hash of the requirements, so that it need never change.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from recoil_build import BuildError

REQUIREMENTS = Path(__file__).parent.parent / "requirements.txt"


def componentize() -> Path:
    """The Python that has componentize-py; installs it if it is not there."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(os.environ.get("RECOIL_TOOLS") or home / "recoil" / "tools")
    place = cache / f"python-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]}"
    python = place / "bin" / "python"
    if place.exists():
        if subprocess.run([python, "-c", "import componentize_py"], capture_output=True).returncode == 0:
            return python
        # The Python that it was made with is gone from this machine.
        shutil.rmtree(place)
    _install(place)
    return python


def _install(place: Path) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
    except OSError as error:
        raise BuildError(f"cannot keep tools in {place.parent}: {error}; name another folder in RECOIL_TOOLS") from None
    try:
        print(f"Installing what builds components into {place}, once", file=sys.stderr)
        _run(
            [sys.executable, "-m", "venv", made],
            "Python's venv module is needed to install tools (Debian: apt-get install python3-venv)",
        )
        pip: list[str | Path] = [made / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run(
            [*pip, "--only-binary", ":all:", "--require-hashes", "--requirement", REQUIREMENTS],
            f"what {REQUIREMENTS} names could not be installed; the first build needs the Python Package Index",
        )
        try:
            made.rename(place)
        except OSError:
            if not place.exists():
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _run(command: list[str | Path], hint: str) -> None:
    # Where pip puts what it installs is not for this machine's settings to say; indexes, proxies and certificates are.
    elsewhere = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_NO_BINARY")
    environment = {name: value for name, value in os.environ.items() if name not in elsewhere}
    environment |= {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    if ran.returncode != 0:
        raise BuildError(f"{(ran.stderr or ran.stdout).strip()}\n{hint}")
