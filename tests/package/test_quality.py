"""The package judged by the programs that others judge it by."""
import glob
import gzip
import os
import re
import subprocess

import chroot
import lifecycle
from lib import settings
from lib.scene import equal

PACKAGES = ()
LATER = (lifecycle.DEB,)
# Without systemd relaypoold is started as README says. Debian 13's lintian does not ask for a script any more, and
# would take an override amiss.
OF_OLD = "package-supports-alternative-init-but-no-init.d-script"
EXPOSURE = 1.5  # of relaypoold.service; 0 is the best, 10 the worst


def test_lintian_has_nothing_to_say():
    """What it says without reason is overridden, where the reason stands, or OF_OLD."""
    changes, = glob.glob(os.path.join(settings.BUILD, "deb", "*.changes"))
    said = subprocess.run(["lintian", "--allow-root", "-EIL", "+pedantic", changes], capture_output=True, text=True,
                          check=False)
    lines = (said.stdout + said.stderr).splitlines()
    equal([line for line in lines if not line.startswith("N:") and OF_OLD not in line], [], "what lintian says")


def test_units_and_manual_pages():
    system = chroot.system()
    before = system.listing()
    system.install(lifecycle.DEB, recommends=False)
    ours = sorted(set(system.listing()) - set(before))
    units = [path for path in ours if re.search(r"/systemd/system/relaypool[^/]*$", path)]
    equal(len(units), 5, f"units among {units}")
    equal(system.run("systemd-analyze", "verify", "--man=no", *units), "", "what systemd says of the units")
    service, = (path for path in units if path.endswith("/relaypoold.service"))
    said = system.run("systemd-analyze", "security", "--offline=true", service)
    exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said).group(1))
    assert exposure <= EXPOSURE, said
    settings.figure(f"exposure {exposure}")
    pages = [system.path(path) for path in ours if "/man/man" in path and path.endswith(".gz")]
    equal(len(pages), 4, f"manual pages among {pages}")
    for page in pages:
        with gzip.open(page) as file:
            lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning"], input=file.read(), capture_output=True,
                                  check=False)
        equal((lint.returncode, lint.stdout), (0, b""), f"what mandoc says of {page}")
