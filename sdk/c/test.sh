#!/bin/sh
# Runs a package's tests natively: `sh test.sh PROGRAM SOURCE.c… [compiler option…]` compiles the sources, the tests'
# `main` among them, with the host in memory, and runs the program. CC names another compiler than cc; memory is watched
# by its sanitizers if it has them.
set -eu
sdk=$(cd "$(dirname "$0")" && pwd)
compiler=${CC:-cc}
how="on Debian and Ubuntu, apt-get install gcc libc6-dev; or set CC to another one"

fail() {
    echo "error: $1" >&2
    exit 1
}

[ $# -ge 2 ] || fail "usage: $0 PROGRAM SOURCE.c… [compiler option…]"
program=$1
shift
command -v "$compiler" >/dev/null 2>&1 || fail "there is no compiler $compiler: $how"
mkdir -p "$(dirname "$program")"
watch="-fsanitize=address,undefined -fno-sanitize-recover=undefined"
printf 'int main(void) { return 0; }\n' | "$compiler" $watch -x c -o "$program" - 2>/dev/null || watch=
"$compiler" -std=gnu11 -g -Wall -Wextra $watch -I"$sdk/include" -o "$program" "$@" "$sdk"/src/*.c "$sdk"/fake/*.c
case $program in
*/*) "$program" ;;
*) "./$program" ;;
esac
