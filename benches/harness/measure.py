"""Runs one command and measures it: seconds, CPU, peak memory."""

import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path

LIMIT_SECONDS = 1200  # a command that takes longer is ended, and its bar fails
LOOK_SECONDS = 0.02


class Failed(Exception):
    """A bar could not be measured; the others go on."""


def measure(command: list, env: dict, codes: tuple = (0,)) -> dict:
    """Wall and CPU seconds of a command with its children, and the peak memory of itself.

    The peak is read from /proc while the command runs: what `wait4` tells is never below the memory of this process,
    from which the command was forked.
    """
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        peaks = [0.0]
        watch = threading.Thread(target=_watch, args=(child.pid, peaks))
        watch.start()
        limit = threading.Timer(LIMIT_SECONDS, child.kill)
        limit.start()
        try:
            _, status, used = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            raise
        finally:
            seconds = time.monotonic() - began
            limit.cancel()
            watch.join()
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if child.returncode not in codes:
        shown = " ".join(str(word) for word in command)
        raise Failed(f"exit code {child.returncode} after {seconds:.0f} s of `{shown}`: {text.strip()[-600:]}")
    return {"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime, "peak_mib": peaks[0], "output": text}


def _watch(pid: int, peaks: list) -> None:
    status = Path(f"/proc/{pid}/status")
    while True:
        try:
            # a process that ended and was not waited for yet has no such line any more
            line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        except (OSError, StopIteration):
            return
        peaks[0] = max(peaks[0], int(line.split()[1]) / 1024)
        time.sleep(LOOK_SECONDS)
