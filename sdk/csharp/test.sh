#!/bin/sh
# Runs the tests of the package in this folder, natively, on the fakes; in the SDK's own folder, the SDK's: test.sh [PART OF A TEST'S NAME]…
# What compiles them is told in compiler.sh.
set -eu

sdk=$(cd "$(dirname "$0")" && pwd)
here=$(pwd)
. "$sdk/compiler.sh"
if [ -n "$project" ]; then
	exec "$dotnet" run --project "$project" -- "$@"
fi

tools=$(sh "$sdk/build.sh" --tools) # fetches them if they are not there, and says where they are
package=src
[ "$here" != "$sdk" ] || package= # the SDK's sources are compiled anyway

export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1
export LD_LIBRARY_PATH="$tools/ssl${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
out=target/tests
mkdir -p "$out"
# What is compiled and with what, a line each: folders may have blanks in their names.
{
	find "$tools"/dotnet/packs/Microsoft.NETCore.App.Ref/*/ref/* -name '*.dll' | sed 's/.*/-r:"&"/'
	find "$sdk/src" "$sdk/native" $package tests -name '*.cs' ! -path "$sdk/src/Runtime/*" | LC_ALL=C sort | sed 's/.*/"&"/'
} >"$out/sources.rsp"
# See build.sh.
TMPDIR=/tmp "$tools/dotnet/dotnet" "$tools"/dotnet/sdk/*/Roslyn/bincore/csc.dll -nologo -noconfig -nostdlib -debug:portable -langversion:8 \
	-target:exe -main:Recoil.Testing.Runner -out:"$out/tests.dll" "@$out/sources.rsp"
cat >"$out/tests.runtimeconfig.json" <<-'CONFIG'
	{ "runtimeOptions": { "framework": { "name": "Microsoft.NETCore.App", "version": "3.1.0" } } }
CONFIG
exec "$tools/dotnet/dotnet" "$out/tests.dll" "$@"
