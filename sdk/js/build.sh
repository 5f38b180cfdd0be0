#!/bin/sh
# Makes a package's component, for `[build] command` of recoil.toml, in the package's folder:
#
#     sh .recoil/sdk/js/build.sh [--engine quickjs|starlingmonkey] [--out build/component.wasm] src/index.js
set -eu
sdk=$(dirname "$0")
. "$sdk/build/node.sh"
exec node "$sdk/build/build.mjs" "$@"
