"""No end of the interpreter is a crash, whatever calls are on their way. `scripts/exit_test.sh` does this under load."""

import subprocess
import sys

import pytest
from conftest import Project

AWAITED = """
import asyncio, dwh, sys
async def main():
    pipeline = dwh.AsyncPipeline(sys.argv[1])
    await asyncio.gather(*[pipeline.tables() for _ in range(20)])
    await pipeline.plan(["devices"])
asyncio.run(main())
"""

# A thread that nobody waits for calls on and on, while the interpreter ends.
DAEMON = """
import dwh, sys, threading
pipeline = dwh.Pipeline(sys.argv[1], progress=lambda event: None)
begun = threading.Event()
def calls():
    while True:
        pipeline.tables()
        begun.set()
def plans():
    while True:
        pipeline.plan(["devices"])
for work in (calls, calls, plans):
    threading.Thread(target=work, daemon=True).start()
begun.wait()
"""

# The loop is left while calls are on their way.
LEFT = """
import asyncio, dwh, sys
loop = asyncio.new_event_loop()
pipeline = dwh.AsyncPipeline(sys.argv[1])
tasks = [loop.create_task(pipeline.plan(["devices"])) for _ in range(5)]
loop.run_until_complete(asyncio.sleep(0.01))
"""

PROGRAMS = {"awaited": AWAITED, "daemon": DAEMON, "left": LEFT}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_end_is_no_crash(project: Project, name: str) -> None:
    dwh_migrate = "import dwh, sys; dwh.Pipeline(sys.argv[1]).migrate()"
    subprocess.run([sys.executable, "-c", dwh_migrate, str(project.config)], check=True)
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAMS[name], str(project.config)], stderr=subprocess.PIPE, text=True, timeout=120
        )
        assert done.returncode == 0, f"{name}: {done.returncode}\n{done.stderr}"
        assert "Fatal" not in done.stderr and "panicked" not in done.stderr, done.stderr
