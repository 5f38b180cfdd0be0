#!/bin/sh
# Builds a package in C: `sh build.sh OUTPUT.wasm SOURCE.c… [compiler option…]` makes a module of the sources and of
# this SDK, of which `recoilctl build` makes the component. RECOIL_CLANG names another compiler than clang-19: any clang
# with wasi-libc, such as wasi-sdk's.
set -eu
sdk=$(cd "$(dirname "$0")" && pwd)
clang=${RECOIL_CLANG:-clang-19}
how="on Debian and Ubuntu, apt-get install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32; elsewhere, get wasi-sdk"
how="$how and set RECOIL_CLANG to its bin/clang"

fail() {
    echo "error: $1" >&2
    exit 1
}

# Headers and libraries for programs of this machine are not for a component.
unset CPATH C_INCLUDE_PATH LIBRARY_PATH COMPILER_PATH

# Clang takes percent signs in the path of its temporary files for room for random digits.
case ${TMPDIR:-} in
*%*) export TMPDIR=/tmp ;;
esac

compile() {
    "$clang" --target=wasm32-wasi "$@"
}

[ $# -ge 2 ] || fail "usage: $0 OUTPUT.wasm SOURCE.c… [compiler option…]"
output=$1
shift
command -v "$clang" >/dev/null 2>&1 || fail "there is no compiler $clang: $how"
linker=$(compile -print-prog-name=wasm-ld)
command -v "$linker" >/dev/null 2>&1 || fail "$clang has no linker $linker: $how"
for library in "$(compile -print-file-name=libc.a)" "$(compile -print-libgcc-file-name)"; do
    [ -f "$library" ] || fail "$clang lacks $library: $how"
done
mkdir -p "$(dirname "$output")"

# Of the SDK only what is used is linked. The stack lies first, so that one that overflows meets the end of memory
# instead of the package's data. What a package cannot have, headers in unsupported/ say where it is asked for.
compile -std=gnu11 -O2 -flto -Wall -Wextra -mexec-model=reactor -I"$sdk/include" -isystem "$sdk/unsupported" -o "$output" "$@" \
    -Wl,--start-lib "$sdk"/src/*.c "$sdk"/host/*.c -Wl,--end-lib \
    -Wl,--gc-sections -Wl,--stack-first -Wl,-z,stack-size=262144 -Wl,--strip-debug
