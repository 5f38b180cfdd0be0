# What the Go tools are to know of this machine's settings, for build.sh and test.sh, which read this: nothing that is about other projects.

command -v go >/dev/null || {
	echo "recoil: there is no 'go' on the PATH: install Go 1.26, from https://go.dev/dl/" >&2
	exit 1
}
# Flags for every build (-mod=vendor, -race) and modes, also those that `go env -w` has kept, are those of other projects. An empty variable
# would leave the kept one in force.
export GO111MODULE=on GOFLAGS=-buildvcs=false
# A workspace counts only for the modules that it lists. One for a later Go cannot even be named.
workspace=$(go env GOWORK 2>/dev/null) || workspace="the go.work above it"
case $workspace in
"" | off) ;;
*)
	if ! go list -m -f '{{.Dir}}' 2>/dev/null | grep -qxF -e "$(pwd)" -e "$(pwd -P)"; then
		echo "note: $workspace does not list this package, which is built without it" >&2
		export GOWORK=off
	fi
	;;
esac
host="GOOS=$(go env GOHOSTOS) GOARCH=$(go env GOHOSTARCH)"
