# Which compiler the package in this folder is for: build.sh and test.sh read this, and it says what it has chosen. An installed .NET SDK is
# preferred: `dotnet` is then its program and `project` the package's project, which imports Recoil.targets. Else both are empty, and the
# pinned compiler is given the sources: it knows nothing of projects, so it takes none and heeds none.

fail() {
	echo "error: $1" >&2
	exit 1
}

dotnet=
for candidate in "$(command -v dotnet || true)" "${DOTNET_ROOT:+$DOTNET_ROOT/dotnet}"; do
	# A runtime alone lists none.
	if [ -z "$dotnet" ] && [ -x "$candidate" ] && [ -n "$("$candidate" --list-sdks 2>/dev/null)" ]; then
		dotnet=$candidate
	fi
done
project=
for file in *.csproj; do
	grep -q 'Recoil\.targets' "$file" 2>/dev/null || continue
	[ -z "$project" ] || fail "$project and $file both import Recoil.targets: a package is one project"
	project=$file
done
pinned="with the pinned C# 8 compiler"
if [ -z "$dotnet" ]; then
	echo "compiling src/ $pinned: no .NET SDK is installed, as \`dotnet\` on PATH or in DOTNET_ROOT" >&2
elif [ -z "$project" ]; then
	echo "compiling src/ $pinned: no project in this folder imports Recoil.targets, as one must that $dotnet is to build" >&2
	dotnet=
else
	version=$("$dotnet" --version) || fail "$dotnet does not start: what is printed above says why"
	echo "compiling $project with the .NET SDK $version, $dotnet" >&2
fi
[ -n "$dotnet" ] || project=
# Neither is to ask for what it does not need, nor to greet; and what it starts is to end with it.
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1 MSBUILDDISABLENODEREUSE=1 \
	UseSharedCompilation=false
