#!/usr/bin/env python3
"""Where the time of a first load goes: in the client (perf, or callgrind where perf cannot run) and in both servers.

    python3 benches/profile.py [--rows N] [--store S3] [--geometry ewkt] > profile.md

Prints Markdown. Needs `linux-perf` or `valgrind`, and a release build of dwh; its function names are kept there.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

from harness.lab import ROOT, Lab, position
from harness.measure import Failed, measure

LOOK_SECONDS = 0.05
TOP = 25
STATEMENTS = """select round(total_exec_time::numeric / 1000, 2), calls, rows, left(regexp_replace(query, '\\s+', ' ', 'g'), 110)
    from pg_stat_statements where query !~ 'pg_stat_' order by total_exec_time desc limit 8;"""
ACTIVITY = """select coalesce(wait_event_type || ' ' || wait_event, 'on a core') || ': ' || left(regexp_replace(query, '\\s+', ' ', 'g'), 48)
    from pg_stat_activity where state <> 'idle' and backend_type = 'client backend' and pid <> pg_backend_pid();"""


def cpu_of_server(lab: Lab, end: str) -> float:
    """CPU seconds of all backends of a cluster that have ended, as its postmaster counts them."""
    pid = (lab.work / end / "data" / "postmaster.pid").read_text().split()[0]
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def look_on(lab: Lab, end: str, ended: threading.Event, seen: Counter) -> None:
    """Counts what the sessions of a server do, one look after another over one connection."""
    command = [f"{lab.bin}/psql", "-X", "-q", "-At", lab.url(end, "postgres")]
    with subprocess.Popen(command, env=lab.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as psql:
        while not ended.wait(LOOK_SECONDS):
            psql.stdin.write(ACTIVITY + "\n\\echo .\n")
            psql.stdin.flush()
            seen["looks"] += 1
            for line in iter(psql.stdout.readline, ".\n"):
                seen[line.strip()] += 1
        psql.stdin.close()


def servers(lab: Lab, tables: str, store: str) -> None:
    env = lab.prepare(tables, store=store)
    lab.checkpoint()
    lab.forget_statements()
    before = {end: cpu_of_server(lab, end) for end in ("source", "target")}
    seen, ended = {end: Counter() for end in before}, threading.Event()
    watches = [threading.Thread(target=look_on, args=(lab, end, ended, seen[end])) for end in before]
    for watch in watches:
        watch.start()
    found = measure([lab.dwh, "-q", "run", "--output", "json"], env)
    ended.set()
    for watch in watches:
        watch.join()
    parts = json.loads(found["output"])["runs"][0]["seconds"]
    print(f"`dwh run`: {found['seconds']:.2f} s, client CPU {found['cpu_seconds']:.2f} s, peak {found['peak_mib']:.0f} MiB; parts, overlapped: "
          + ", ".join(f"{name} {value:.2f}" for name, value in parts.items()))
    for end in before:
        time.sleep(0.2)  # the postmaster waits for its children in its own time
        print(f"\n**{end}**: {cpu_of_server(lab, end) - before[end]:.2f} s of CPU\n\n| s | calls | rows | statement |\n|--:|--:|--:|---|")
        for line in lab.sql(end, "postgres", STATEMENTS).splitlines():
            print("| " + " | ".join(line.split("|", 3)) + " |")
        looks = seen[end].pop("looks")
        print(f"\nWhat its sessions waited for, in {looks} looks:\n")
        for what, count in seen[end].most_common(10):
            print(f"- {100 * count / looks:.0f} % {what}")


def client(lab: Lab, tables: str, store: str) -> None:
    env = lab.prepare(tables, store=store)
    lab.checkpoint()
    data = lab.work / "profile.data"
    dwh = [lab.dwh, "-q", "run"]
    # the clock of the machine: virtual machines have no counters of the processor
    if shutil.which("perf") and subprocess.run(["perf", "record", "-q", "-e", "cpu-clock", "-o", data, "true"], capture_output=True, check=False).returncode == 0:
        measure(["perf", "record", "-q", "-e", "cpu-clock", "-F", "999", "--call-graph", "fp", "-o", data, *dwh], env)
        for title, sort, top in (("by library", "dso", 8), ("by function", "dso,symbol", TOP)):
            report = subprocess.run(["perf", "report", "--stdio", "--no-children", "-g", "none", "-i", data, "--sort", sort], capture_output=True, text=True, check=True).stdout
            # the last columns, of inlined calls, are empty
            lines = [re.sub(r"(\s+-)*\s*$", "", line) for line in report.splitlines() if re.match(r"\s+\d", line)][:top]
            print(f"\n**client, {title}** (perf, of its CPU time)\n\n```text\n" + "\n".join(lines) + "\n```")
    elif shutil.which("valgrind"):
        measure(["valgrind", "--tool=callgrind", f"--callgrind-out-file={data}", *dwh], env)
        report = subprocess.run(["callgrind_annotate", data], capture_output=True, text=True, check=True).stdout
        print("\n**client, by function** (callgrind, of its instructions)\n\n```text\n" + "\n".join(report.splitlines()[: TOP + 20]) + "\n```")
    else:
        raise Failed("neither perf nor valgrind is there: apt-get install linux-perf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--store", choices=["local", "S3"], default="local")
    parser.add_argument("--geometry", choices=["ewkb", "ewkt"], default="ewkb")
    parser.add_argument("--dwh", type=Path, default=Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "dwh")
    asked = parser.parse_args()
    with Lab(asked.rows, 1, asked.dwh.resolve()) as lab:
        lab.seed(asked.rows)
        tables = position(geometry=asked.geometry)
        servers(lab, tables, asked.store)
        client(lab, tables, asked.store)


if __name__ == "__main__":
    main()
