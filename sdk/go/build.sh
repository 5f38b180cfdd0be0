#!/bin/sh
# The core module of the package in this folder, for `recoilctl build`, which makes a component of it: build.sh OUT [FLAG OF go build…]
set -eu
[ $# -ge 1 ] || { echo "usage: build.sh OUT [FLAG OF go build…]" >&2; exit 2; }
out=$1
shift
sdk=$(cd "$(dirname "$0")" && pwd)
. "$sdk/environment.sh"
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT

# -checklinkname=0: the SDK shares the end of linear memory with Go's runtime. -w: no debugging information; the names of
# functions are needed, and left out by finish.
GOOS=wasip1 GOARCH=wasm go build -trimpath -buildmode=c-shared "$@" -ldflags="-checklinkname=0 -w" -o "$temporary/linked.wasm" .
(cd "$sdk" && env $host GOWORK=off go build -trimpath -o "$temporary/finish" ./cmd/finish)
"$temporary/finish" "$temporary/linked.wasm" "$out"
