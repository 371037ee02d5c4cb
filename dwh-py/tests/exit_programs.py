"""Programs that end while calls are on their way. As a script: each of them many times on a busy machine.

    python dwh-py/tests/exit_programs.py 200
"""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BEGIN = """
import asyncio, sys, threading
import dwh
async def quietly(call):
    try:
        await call
    except dwh.DwhError:
        pass
"""

# The call has just ended, and the thread that said so is still inside Python.
AWAITED = """
async def main():
    pipeline = dwh.AsyncPipeline(sys.argv[1])
    await asyncio.gather(*[quietly(pipeline.tables()) for _ in range(20)])
    await quietly(pipeline.status(["devices"]))
asyncio.run(main())
"""

# Threads that nobody waits for call on and on.
DAEMON = """
pipeline = dwh.Pipeline(sys.argv[1], progress=lambda event: None)
begun = threading.Event()
def calls(verb, *args):
    while True:
        try:
            verb(*args)
        except dwh.DwhError:
            pass
        begun.set()
for call in ((pipeline.tables,), (pipeline.tables,), (pipeline.plan, ["devices"]), (pipeline.run, ["devices"])):
    threading.Thread(target=calls, args=call, daemon=True).start()
begun.wait()
"""

# The loop is left while calls are on their way.
LEFT = """
loop = asyncio.new_event_loop()
pipeline = dwh.AsyncPipeline(sys.argv[1])
tasks = [loop.create_task(quietly(pipeline.plan(["devices"]))) for _ in range(5)]
loop.run_until_complete(asyncio.sleep(0.01))
"""

PROGRAMS = {"awaited": BEGIN + AWAITED, "daemon": BEGIN + DAEMON, "left": BEGIN + LEFT}

# Nothing answers there: what happens at the end does not depend on it.
CONFIG = """
project = { name = "exit" }
source = { app = { url = "postgresql://r@127.0.0.1:1/x" } }
target = { url = "postgresql://w@127.0.0.1:1/x" }
blob = { url = "file:///tmp/dwh-exit" }
table = [{ name = "devices", relation = "app.devices", mode = "snapshot" }]
"""


def run(name: str, config: Path) -> str:
    """What was wrong with its end; nothing, mostly."""
    command = [sys.executable, "-c", PROGRAMS[name], str(config)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=300)
    bad = done.returncode != 0 or "Fatal" in done.stderr or "panicked" in done.stderr
    return f"{name}: {done.returncode}\n{done.stderr}" if bad else ""


def main(times: int) -> int:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    failed = 0
    try:
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(4) as pool:
            config = Path(folder) / "dwh.toml"
            config.write_text(CONFIG)
            for name in PROGRAMS:
                wrong = [what for what in pool.map(lambda name: run(name, config), [name] * times) if what]
                print(f"{name}: {len(wrong)} of {times} ended with a crash", *wrong[:1], sep="\n", flush=True)
                failed += len(wrong)
    finally:
        for one in busy:
            one.kill()
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
