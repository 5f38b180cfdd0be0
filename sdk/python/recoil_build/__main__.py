"""The command line, as `build.sh` calls it."""

import argparse
import sys
from pathlib import Path

from recoil_build import BuildError, component, roles, tools


def main() -> int:
    """Build the package in the current folder."""
    parser = argparse.ArgumentParser(prog="build.sh", description="Make a component of the package in the current folder.")
    parser.add_argument("--module", default="app", help="the module that defines the package's roles (default: app)")
    parser.add_argument("--output", type=Path, help="the component to make (default: build/MODULE.wasm)")
    parser.add_argument(
        "--path",
        action="append",
        default=[],
        type=Path,
        metavar="FOLDER",
        help="a folder of modules to import besides the package's own, such as pip install --target makes; may be repeated",
    )
    options = parser.parse_args()
    output = options.output or Path("build") / f"{options.module}.wasm"
    try:
        found = roles.find(options.module, [Path.cwd(), *options.path])
        component.make(tools.componentize(), options.module, found, options.path, output)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{output}: {', '.join(f'{role.export} by {name}' for role, name in found.items())}")
    return 0


sys.exit(main())
