#!/bin/sh
# Builds relaypool and runs every test, as root on Debian 12 or newer. It installs the packages it needs; everything else is
# in a directory and in namespaces that go with it. The last line is "N passed, N failed".
# Not among them, since it takes long: tests/package/compilers.py, gcc and clang on Debian 12 and 13.
set -eu

tests=$(cd "$(dirname "$0")" && pwd)
"$tests/packages.sh" tests
exec /usr/bin/python3 -B "$tests/suite.py" "$@"
