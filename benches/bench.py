#!/usr/bin/env python3
"""Measures every bar of speed and memory in turn with its yardstick, on two throwaway clusters.

Only ratios taken in one run count: each pair runs both sides, one right after the other and in changing order, and the
ratio is taken within the pair. What both left is compared after every pair, so a fast wrong answer is a failure. A bar
that fails is told, and the others go on.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from harness import ends, growth, loads, many, report
from harness.bars import Case
from harness.lab import HERE, ROOT, Lab, say

FULL_ROWS, FULL_PAIRS = 1_000_000, 5
QUICK_ROWS = 4_000


def cases(quick: bool) -> list[Case]:
    return [
        loads.first_load(0.50, 3, cpu_goal=1.5),
        loads.first_load(0.50, 5, geometry="ewkt"),
        loads.first_load(0.45, 3, compression="zstd"),
        loads.first_load(0.60, 3.5, store="S3", cpu_goal=2.0),
        loads.slices("local", (0.45, 0.40)),
        loads.slices("S3", (0.60, 0.40)),
        loads.replay(),
        loads.snapshot(),
        ends.copy_out(),
        ends.verify(),
        loads.rebuild(),
        loads.jobs(os.cpu_count() or 1),
        many.changed(20 if quick else 200),
        many.nothing_new([1, 5, 20] if quick else [1, 20, 200, 2000]),
        growth.memory("local"),
        growth.memory("S3"),
        growth.growth(),
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=FULL_ROWS)
    parser.add_argument("--pairs", type=int, default=FULL_PAIRS, help="how often each pair is measured")
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="only bars whose name has one of these words")
    parser.add_argument("--quick", action="store_true", help="one pair of each at a small size: does everything work?")
    parser.add_argument("--peers", action="store_true", help="other tools too; `scripts/setup.sh peers` installs them")
    parser.add_argument("--list", action="store_true", help="print the bars with their goals, and measure nothing")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--dwh", type=Path, default=target / "release" / "dwh")
    parser.add_argument("--out", type=Path, default=target / "bench")
    asked = parser.parse_args()
    if asked.quick:
        asked.rows, asked.pairs = QUICK_ROWS, 1
    return asked


def chosen(asked: argparse.Namespace) -> list[Case]:
    everything = cases(asked.quick)
    if not asked.only:
        return everything
    found = [case for case in everything if any(word.lower() in name.lower() for word in asked.only for name in case.names)]
    if not found:
        sys.exit("bench: no bar has such a name; `--list` prints them")
    return found


def estimate(case: Case, asked: argparse.Namespace) -> float:
    """Minutes; a pair costs as much as the rows that it moves."""
    share = asked.rows / FULL_ROWS * (asked.pairs + 1) / (FULL_PAIRS + 1)
    return (case.minutes - case.fixed) * share + (0.2 if asked.quick else case.fixed) + 0.1


def measure_case(lab: Lab, case: Case, whole: dict) -> None:
    """Runs a case to its end or its failure, and judges its bars by what it yielded."""
    samples: dict = {name: [] for name in case.names}
    failure = None
    try:
        for found in case.run(lab):
            if "curve" in found:
                whole["curves"].setdefault(found["curve"], []).append(found["point"])
            if found["bar"]:
                samples[found["bar"]].append(found)
                say(f"  {found['bar']}: {found['value']:.2f}")
    except Exception as error:  # whatever it was, the other bars are worth their time
        failure = " ".join(str(error).split()) or type(error).__name__
        say(f"  FAILED: {failure}")
    whole["bars"] += [report.judged(bar, samples[bar.name], failure) for bar in case.bars]


def measure_all(asked: argparse.Namespace, picked: list[Case]) -> dict:
    with Lab(asked.rows, asked.pairs, asked.dwh.resolve()) as lab:
        command = "make bench" + "".join(f" {name}" for name in [
            f"ROWS={asked.rows}" if asked.rows != FULL_ROWS and not asked.quick else "", f"PAIRS={asked.pairs}" if asked.pairs != FULL_PAIRS and not asked.quick else "",
            f'ONLY="{" ".join(asked.only)}"' if asked.only else "", "QUICK=1" if asked.quick else "", "PEERS=1" if asked.peers else ""] if name)
        found = {"command": command, "rows": asked.rows, "machine": report.machine(lab), "bars": [], "curves": {}, "peers": []}
        left = [estimate(case, asked) for case in picked]
        say(f"{sum(len(case.bars) for case in picked)} bars, about {sum(left):.0f} minutes, load of the machine {found['machine']['load_before']:.1f}")
        began = time.monotonic()
        for number, case in enumerate(picked):
            used = (time.monotonic() - began) / 60
            say(f"[{number + 1}/{len(picked)}] {', '.join(case.names)} ({used:.0f} minutes gone, about {sum(left[number:]):.0f} to go)")
            measure_case(lab, case, found)
            report.write(asked.out / "bench.json", found)  # what was measured so far, should the rest be cut off
        if asked.peers:
            from harness import peers
            found["peers"] = peers.measure_all(lab)
        found["minutes"] = (time.monotonic() - began) / 60
    return found


def main() -> None:
    asked = arguments()
    picked = chosen(asked)
    if asked.list:
        for case in picked:
            for bar in case.bars:
                print(f"{bar.name:60} {bar.goal_text():16} {bar.yardstick}")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    found = measure_all(asked, picked)
    report.write(asked.out / "bench.json", found)
    whole = not asked.only and not asked.quick
    print(report.table(found))
    # the pictures and the page of the repository are of whole runs
    if whole:
        report.into_readme(found)
    say(f"{found['minutes']:.1f} minutes; written to {asked.out / 'bench.json'}" + (", and into benches/README.md" if whole else ""))
    if found["curves"]:
        subprocess.run([asked.dwh.parent / "curves", asked.out / "bench.json", HERE if whole else asked.out], check=True)
    if any(entry["failure"] for entry in found["bars"]):
        sys.exit("bench: not everything could be measured, see above")


if __name__ == "__main__":
    main()
