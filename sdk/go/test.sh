#!/bin/sh
# Runs the tests of the package in this folder, natively, on a cluster in memory: test.sh [FLAG OF go test…]
set -eu
sdk=$(cd "$(dirname "$0")" && pwd)
. "$sdk/environment.sh"
exec env $host go test "$@" ./...
