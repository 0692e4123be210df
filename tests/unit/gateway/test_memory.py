"""What the gateway's process does with memory, in a process of its own with the settings of the image."""

import os
import subprocess
import sys

from fixtures.tools import REPOSITORY

PROGRAM = """
import resource
from runabout.gateway.memory import keep_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(200):
        bytes(bytearray(1024 * 1024))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
mapped = faults()
keep_memory()
print(mapped, faults())
"""


def test_pieces_that_come_and_go_cost_no_new_pages() -> None:
    settings = {"PYTHONPATH": str(REPOSITORY / "operator"), "MALLOC_TRIM_THRESHOLD_": "131072"}
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **settings}, capture_output=True, check=True, timeout=30
    )
    mapped, kept = map(int, said.stdout.split())
    assert kept < 2_000
    assert mapped > 50_000, "else the first figure shows nothing"
