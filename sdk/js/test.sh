#!/bin/sh
# Runs a package's tests by `node --test`, bundled first, so that they may be in TypeScript:
#
#     sh .recoil/sdk/js/test.sh test/*.test.ts
set -eu
sdk=$(dirname "$0")
. "$sdk/build/node.sh"
exec node "$sdk/build/test.mjs" "$@"
