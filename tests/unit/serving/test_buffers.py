"""Large buffers that were freed are used again, not given back to the system."""

import platform
import subprocess
import sys

import pytest

PROBE = """
import resource
from guard.serving.buffers import keep_freed_buffers
{call}
def cycle():
    held = [bytearray(b"x") * 600_000 for _ in range(8)]
for _ in range(3):
    cycle()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    cycle()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 20 * 8 * 600_000 // 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other heaps have no such setting")
def test_freed_buffers_cost_no_page_faults_again() -> None:
    assert _faults("keep_freed_buffers()") < PAGES / 50
    assert _faults("") > PAGES / 2  # else the C library needs no telling any more


def _faults(call: str) -> int:
    code = PROBE.format(call=call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)
