"""What relaypool is for: over a long link, half as fast again as Postfix by itself, tuned."""
import os
import re
import subprocess
import sys

from lib import settings

WANTED = 1.5


def test_ratio_over_tuned_postfix():
    script = os.path.join(settings.SOURCE, "tests", "bench", "compare.py")
    output = subprocess.run([sys.executable, "-B", script], capture_output=True, text=True, check=True).stdout
    ratio = float(re.search(r"^ *ratio +([\d.]+)$", output, re.MULTILINE).group(1))
    settings.figure(f"{ratio:.2f} times tuned Postfix")
    assert ratio >= WANTED, output
