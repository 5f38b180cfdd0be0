#!/bin/sh
# The core module of the package in this folder, target/package.wasm, for `recoilctl build`, which makes a component of it. It is
# what `mvn package` makes, without the tests: build.sh [ARGUMENT OF MAVEN…]
set -eu

command -v mvn >/dev/null || {
	echo "recoil: there is no 'mvn' on the PATH: install Maven 3.8 or later, as by apt-get install maven" >&2
	exit 1
}
java=${JAVA_HOME:+$JAVA_HOME/bin/}javac
version=$("$java" -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p') || version=
[ "${version:-0}" -ge 17 ] || {
	echo "recoil: '$java' is not a JDK of version 17 or later: install one, as by apt-get install openjdk-17-jdk-headless, or set JAVA_HOME" >&2
	exit 1
}
# Java cannot open files whose names are not ASCII unless the locale's encoding has their characters, nor
# start programs there in an encoding that JAVA_TOOL_OPTIONS names.
[ "$(locale charmap 2>/dev/null)" = UTF-8 ] || export LC_ALL=C.UTF-8
export MAVEN_OPTS="${MAVEN_OPTS:-} -Dfile.encoding=UTF-8"
# Quiet, without colours; checksums of what is fetched must be right. Every version is pinned, so nothing is asked for a second time.
said=$(mktemp)
trap 'rm -f "$said"' EXIT
status=0
mvn -q -B -C -ntp -Dstyle.color=never -Dmaven.test.skip=true package "$@" >"$said" 2>&1 || status=$?
# What the compilers say, once, with the names that files have in this folder: of which plugin they are a part, and how Maven itself is
# to be searched for mistakes, is no help to an author.
HERE="$(pwd)/" awk '
	{ gsub(/\033\[[0-9;]*m/, "") }
	/^\[ERROR\] -> \[Help/ { exit }
	/^\[ERROR\] *(\[java\] Java Result.*|around Ant part .*)?$/ || /^$/ { next }
	/^\[ERROR\] Failed to execute goal .*:maven-(compiler|antrun)-plugin:/ { sub(/Failed to execute goal .* on project [^:]*: (An Ant BuildException has occured: )?/, "") }
	{ while (at = index($0, ENVIRON["HERE"])) $0 = substr($0, 1, at - 1) substr($0, at + length(ENVIRON["HERE"])) }
	!($0 in printed) { print; printed[$0] }
' "$said" >&2
exit "$status"
