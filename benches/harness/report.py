"""What was measured, as a table for people and as JSON; the results in README.md are made from the JSON."""

import json
import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

from harness.lab import HERE, ROOT, SETTINGS, Lab

BEGIN, END = "<!-- results: begin, written by `make bench` -->", "<!-- results: end -->"


def judged(bar, samples: list, failure: str | None) -> dict:
    """A bar with its median and its verdict."""
    entry = {"bar": bar.name, "goal": bar.goal, "goal_text": bar.goal_text(), "unit": bar.unit, "yardstick": bar.yardstick,
             "pairs": len(samples), "failure": failure, "samples": samples}
    if not samples:
        return entry | {"value": None, "verdict": "not measured"}
    values = [sample["value"] for sample in samples]
    # memory is a promise about every run, time about the usual one
    value = max(values) if bar.unit == "MiB" else median(values)
    return entry | {"value": value, "lowest": min(values), "highest": max(values), "verdict": "met" if bar.met(value) else "missed"}


def machine(lab: Lab) -> dict:
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    memory = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    git = lambda *words: subprocess.run(["git", "-C", ROOT, *words], stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    return {
        "cpus": os.cpu_count(), "cpu": cpu, "memory_gib": round(memory / (1 << 20)), "system": release.get("PRETTY_NAME", "").strip('"'),
        "kernel": platform.release(), "settings": SETTINGS,
        "commit": git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else ""),
        "dwh": subprocess.run([lab.dwh, "--version"], stdout=subprocess.PIPE, text=True, check=False).stdout.strip(),
        "postgresql": lab.sql("source", "postgres", "show server_version;").split()[0],
        "postgis": lab.sql("target", "blank", "select extversion from pg_extension where extname = 'postgis';"),
        "load_before": os.getloadavg()[0], "began": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def write(path: Path, report: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def _middle(samples: list, side: str, what: str) -> str:
    values = [sample["sides"][side][what] for sample in samples if side in sample.get("sides", {})]
    return f"{median(values):.2f}" if values else ""


def _floor(entry: dict, found: dict) -> float:
    if "floor" in found:
        return found["floor"]
    sides = found["sides"]
    # a ratio beside ratios; CPU of the clients beside the CPU of ours, which is per million rows
    if entry["unit"] != "×":
        return sides["floor"]["cpu_seconds"] * entry["samples"][0]["value"] / entry["samples"][0]["sides"]["dwh"]["cpu_seconds"]
    return sides["floor"]["seconds"] / sides["by hand"]["seconds"]


def _line(entry: dict) -> str:
    samples = entry["samples"]
    sides = list(samples[0].get("sides", {})) if samples else []
    ours = "--jobs 4" if "--jobs 4" in sides else "dwh"
    beside = max((_middle(samples, side, "seconds") for side in sides if side not in (ours, "floor")), key=lambda text: float(text or 0), default="")
    floors = [_floor(entry, sample) for sample in samples if "floor" in sample or "floor" in sample.get("sides", {})]
    peaks = [sample["sides"][ours]["peak_mib"] for sample in samples if ours in sample.get("sides", {})]
    value = "" if entry["value"] is None else f"{entry['value']:.2f}" if entry["unit"] != "MiB" else f"{entry['value']:.0f}"
    spread = "" if entry["pairs"] < 2 else f"{entry['lowest']:.2f}–{entry['highest']:.2f}"
    cells = [
        entry["bar"], entry["goal_text"], value, f"**{entry['verdict']}**", spread, f"{median(floors):.2f}" if floors else "", str(entry["pairs"]), entry["yardstick"], beside,
        _middle(samples, ours, "seconds"), _middle(samples, ours, "cpu_seconds"), f"{max(peaks):.0f}" if peaks else "",
    ]
    return f"| {' | '.join(cells)} |"


def table(report: dict) -> str:
    lines = [
        "| bar | goal | measured | verdict | lowest–highest | floor | runs | yardstick | yardstick s | dwh s | dwh CPU s | dwh peak MiB |",
        "|---|---|--:|---|---|--:|--:|---|--:|--:|--:|--:|",
        *(_line(entry) for entry in report["bars"]),
    ]
    for entry in report["bars"]:
        if entry["failure"]:
            lines += ["", f"`{entry['bar']}`: {entry['failure']}"]
    lines += ["", "Floor: what the steps need that cannot be left out, × by hand (of growth: how far it is apart itself), with no catalog, watermark, merge, checksum or record (by_hand.sh `floor`, `newer`, `windows`, `restore`, `staged`)."]
    for curve, points in report["curves"].items():
        points = merged(points, curve)
        keys = list(dict.fromkeys(key for point in points for key in point))
        lines += ["", f"| {' | '.join(keys)} |", "|" + "--:|" * len(keys)]
        lines += [f"| {' | '.join(_number(point.get(key)) for key in keys)} |" for point in points]
    if report["peers"]:
        lines += ["", "| peer | what | × by hand | by hand s | peer s | CPU s | peak MiB | what it left |", "|---|---|--:|--:|--:|--:|--:|---|"]
        for peer in report["peers"]:
            lines.append(f"| {peer['peer']} | {peer['what']} | {peer['ratio']:.2f} | {peer['by_hand']:.2f} | {peer['seconds']:.2f} | {peer['cpu_seconds']:.2f} | {peer['peak_mib']:.0f} | {peer['left']} |"
                         if peer.get("ratio") else f"| {peer['peer']} | {peer['what']} | | | | | | {peer['left']} |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def merged(points: list, key: str) -> list:
    """Points of the same place put together; the largest of what is there twice."""
    found: dict = {}
    for point in points:
        known = found.setdefault(point[key], {})
        for name, value in point.items():
            known[name] = max(known.get(name, value), value)
    return [found[place] for place in sorted(found)]


def into_readme(report: dict) -> None:
    """Replaces the results in README.md."""
    path = HERE / "README.md"
    before, rest = path.read_text().split(BEGIN)
    after = rest.split(END)[1]
    on = report["machine"]
    words = (
        f"{on['began'][:16].replace('T', ' ')} UTC, commit {on['commit']}, `{report['command']}`: {on['cpus']} cores ({on['cpu']}), {on['memory_gib']} GiB, {on['system']}, "
        f"PostgreSQL {on['postgresql']}, PostGIS {on['postgis']}; load of the machine before it began: {on['load_before']:.1f}. {report['rows']:,} rows, medians; memory is the highest."
    )
    pictures = "![rows](growth-rows.svg)\n![tables](growth-tables.svg)"
    path.write_text(f"{before}{BEGIN}\n{words}\n\n{table(report)}\n\n{pictures}\n{END}{after}")
