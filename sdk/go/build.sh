#!/bin/sh
# The core module of the package in this folder, for `recoilctl build`, which makes a component of it: build.sh OUT
set -eu
[ $# = 1 ] || { echo "usage: build.sh OUT" >&2; exit 2; }
out=$1
sdk=$(cd "$(dirname "$0")" && pwd)

command -v go >/dev/null || {
	echo "recoil: there is no 'go' on the PATH: install Go 1.26, from https://go.dev/dl/" >&2
	exit 1
}
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT

# -checklinkname=0: the SDK shares the end of linear memory with Go's runtime. -w: no debugging information; the names of
# functions are needed, and left out by finish.
GOOS=wasip1 GOARCH=wasm go build -trimpath -buildvcs=false -buildmode=c-shared -ldflags="-checklinkname=0 -w" -o "$temporary/linked.wasm" .
(cd "$sdk" && GOOS= GOARCH= GOWORK=off go build -trimpath -buildvcs=false -o "$temporary/finish" ./cmd/finish)
"$temporary/finish" "$temporary/linked.wasm" "$out"
