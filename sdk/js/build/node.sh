# Sourced by build.sh and test.sh: ends them with a clear line if there is no Node.js that they can use.
if ! command -v node >/dev/null; then
  echo "error: Node.js is missing: install version 20.11 or later, from https://nodejs.org or your system's packages" >&2
  exit 1
fi
if ! node -e 'const [major, minor] = process.versions.node.split(".").map(Number); process.exit(major > 20 || (major === 20 && minor >= 11) ? 0 : 1)'; then
  echo "error: Node.js $(node --version) is too old: install version 20.11 or later, from https://nodejs.org" >&2
  exit 1
fi
