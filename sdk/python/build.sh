#!/bin/sh
# Builds the package in the current folder: `build.sh --help` says what it may be told. For `[build] command` of recoil.toml.
set -eu

sdk=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "$python is not Python 3.11 or newer: install it from https://www.python.org/downloads/ (Debian: apt-get install python3 python3-venv), or name another one in PYTHON" >&2
  exit 1
fi
# Without the packages that happen to be installed on this machine (-S), which no component has, and without what lies in the
# current folder (-P) until the package itself is imported.
PYTHONPATH=$sdk exec "$python" -S -P -B -m recoil_build "$@"
