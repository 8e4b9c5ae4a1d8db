#!/usr/bin/python3
"""Runs the integration tests, each in a sandbox of its own, and prints a line for each and a closing line.

    run.py [-j JOBS] [-k] [-x PATTERN]… [PATTERN…]

A pattern is part of "test_file.test_name", after -x of those to leave out; -k keeps the work directories.

RELAYPOOL_BUILD names the build directory, RELAYPOOL_SCALE below 1 makes the large tests smaller, RELAYPOOL_PATIENCE
above 1 stretches limits on time for slow builds.
"""
import os

from lib import runner, sandbox

if __name__ == "__main__":
    runner.main(__doc__, os.path.realpath(__file__), lambda module, keep: sandbox.enter(keep))
