#!/bin/sh
# What relaypool gains, on this machine: 300 messages to a relay 100 ms away, first by Postfix alone, tuned as its own
# documentation says, then with relaypool. Run it as root on Debian 12 or newer. It installs the packages it needs and
# leaves nothing else behind: every process, network and file is in namespaces and a directory that go with it, and
# the mail server of this machine is not touched. Options: -n MESSAGES, -r MILLISECONDS of round trip.
set -eu

tests=$(cd "$(dirname "$0")/../tests" && pwd)
"$tests/packages.sh" demo
exec /usr/bin/python3 -B "$tests/bench/compare.py" "$@"
