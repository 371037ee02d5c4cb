#!/usr/bin/env python3
"""Measures `dwh run` against the load by hand, in turn, on two throwaway clusters; prints a table and writes JSON.

Only ratios taken in one run count: each repetition runs both, one right after the other and in changing order, and the
ratio is taken within the pair. Both ends are compared after every pair, so a fast wrong answer is a failure.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "benches"
SETTINGS = ["shared_buffers=512MB", "max_wal_size=4GB"]  # the rest as shipped: fsync and synchronous_commit are on
COLUMNS = "imei, gps_time, recorded_at, geom, speed_kmh, heading, ignition, altitude_m, address, raw"
SLICE_ROWS = 10_000
SMALL_TABLES, SMALL_CHANGED = 200, 5
GOALS = {"first load": 0.50, "first load, s3": 0.60, f"slice of {SLICE_ROWS:,}": 0.60, "nothing new": 0.80}


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def script(name: str, *args: str) -> str:
    return subprocess.run([ROOT / "scripts" / name, *args], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def measure(command: list, env: dict) -> dict:
    """Wall and CPU seconds of a command with its children, and the peak memory of the largest of them."""
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            output.seek(0)
            sys.stderr.write(output.read().decode(errors="replace")[-4000:])
            sys.exit(f"bench: exit code {child.returncode} of {command}")
    return {"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime, "peak_mib": used.ru_maxrss / 1024}


class Bench:
    """Two clusters, and for every measurement a target database of its own."""

    def __init__(self, work: Path, repeat: int, dwh: Path):
        self.work, self.repeat, self.dwh = work, repeat, dwh
        self.results: list[dict] = []
        self.many: dict | None = None
        self.bin = script("postgres.sh", "bin")
        self.env = os.environ | {"PATH": f"{self.bin}:{os.environ['PATH']}", "PSQLRC": os.devnull}
        self.ports = {end: script("postgres.sh", "up", str(work / end), *SETTINGS) for end in ("source", "target")}
        self.pgpass()

    def pgpass(self) -> None:
        path = self.work / "pgpass"
        path.touch(0o600)
        path.write_text("".join(
            f"127.0.0.1:{port}:*:postgres:{(self.work / end / 'password').read_text()}\n" for end, port in self.ports.items()
        ))
        self.env["PGPASSFILE"] = str(path)

    def url(self, end: str, database: str, password: bool = False) -> str:
        secret = ":" + (self.work / end / "password").read_text() if password else ""
        return f"postgresql://postgres{secret}@127.0.0.1:{self.ports[end]}/{database}"

    def sql(self, end: str, database: str, text: str) -> str:
        command = [f"{self.bin}/psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-f", "-", self.url(end, database)]
        done = subprocess.run(command, env=self.env, input=f"set client_min_messages = warning;\n{text}", check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    def seed(self, rows: int) -> None:
        say(f"seeding {rows:,} rows")
        self.sql("source", "postgres", "drop database if exists fleet;\ncreate database fleet;")
        self.sql("source", "fleet", (HERE / "data.sql").read_text())
        self.sql("source", "fleet", f"insert into bench.position_history select * from bench.position_rows(0, {rows});")
        self.sql("source", "fleet", "create index on bench.position_history (recorded_at);\nvacuum analyze bench.position_history;")

    def add_slice(self, rows: int) -> None:
        """New rows as an application writes them: stamped now, above the watermark of the load before."""
        columns = COLUMNS.replace("recorded_at", "now()")
        self.sql("source", "fleet", f"insert into bench.position_history select {columns} from bench.position_rows({rows}, {rows + SLICE_ROWS});")

    def drop_slice(self) -> None:
        self.sql("source", "fleet", "delete from bench.position_history where recorded_at > now() - interval '1 day';\nvacuum analyze bench.position_history;")

    def prepare(self, geometry: str, blob: str, tables: str | None = None) -> dict:
        """An empty target, an empty store, a configuration; returns the environment of a run."""
        self.sql("target", "postgres", "drop database if exists warehouse with (force);\ncreate database warehouse;")
        self.sql("target", "warehouse", "create extension postgis;")
        shutil.rmtree(self.work / "run", ignore_errors=True)
        (self.work / "run" / "blobs").mkdir(parents=True)
        tables = tables or (
            '[[table]]\nname = "position_history"\nrelation = "bench.position_history"\nmode = "incremental"\n'
            f'watermark = "recorded_at"\nkey = ["imei", "gps_time"]\ngeometry = "{geometry}"\nwindow = "10000d"\n'
        )
        store = f'url = "file://{self.work}/run/blobs"' if blob == "local" else f'url = "s3://bronze/{time.time_ns()}"\nendpoint = "{blob}"'
        (self.work / "run" / "dwh.toml").write_text(
            '[project]\nname = "bench"\ntimezone = "UTC"\ncadence = "3h"\n[source.bench]\nurl = "${DWH_SOURCE_URL}"\n'
            f'[target]\nurl = "${{DWH_TARGET_URL}}"\n[blob]\n{store}\n{tables}'
        )
        env = self.env | {
            "DWH_CONFIG": str(self.work / "run" / "dwh.toml"),
            "DWH_SOURCE_URL": self.url("source", "fleet", password=True),
            "DWH_TARGET_URL": self.url("target", "warehouse", password=True),
            "SOURCE_URL": self.url("source", "fleet"),
            "TARGET_URL": self.url("target", "warehouse"),
        }
        measure([self.dwh, "-q", "migrate"], env)
        measure([HERE / "by_hand.sh", "reset"], env)
        return env

    def pair(self, case: str, rows: int, turn: int, geometry: str, env: dict) -> None:
        """Both, in an order that changes from turn to turn, and a comparison of what they left."""
        commands = {
            "by hand": [HERE / "by_hand.sh", "load", geometry, str(self.work / "run" / "staged.csv")],
            "dwh": [self.dwh, "-q", "run"],
        }
        found = {}
        for who in sorted(commands, reverse=turn % 2 == 1):
            self.sql("source", "fleet", "checkpoint;")
            self.sql("target", "warehouse", "checkpoint;")
            found[who] = measure(commands[who], env)
        sums = [
            self.sql("target", "warehouse", f"select count(*), sum(hashtextextended(row({COLUMNS})::text, 0)) from {schema}.position_history;")
            for schema in ("byhand", "bronze")
        ]
        if sums[0] != sums[1]:
            sys.exit(f"bench: {case}: by hand and dwh left different rows: {sums}")
        entry = {"case": case, "geometry": geometry, "rows": rows, **found}
        entry["ratio"] = found["dwh"]["seconds"] / found["by hand"]["seconds"]
        self.results.append(entry)
        say(f"{case}, {geometry}: by hand {found['by hand']['seconds']:.2f} s, dwh {found['dwh']['seconds']:.2f} s, ratio {entry['ratio']:.2f}")

    def series(self, rows: int, geometry: str, blob: str) -> None:
        """First load, slice and nothing new, `repeat` times."""
        suffix = "" if blob == "local" else ", s3"
        for turn in range(self.repeat):
            self.drop_slice()
            env = self.prepare(geometry, blob)
            self.pair(f"first load{suffix}", rows, turn, geometry, env)
            self.add_slice(rows)
            self.pair(f"slice of {SLICE_ROWS:,}{suffix}", rows, turn, geometry, env)
            self.pair(f"nothing new{suffix}", rows, turn, geometry, env)

    def small_tables(self) -> None:
        """Many small tables of which few changed: round trips, not bytes."""
        names = [f"small_{i:03}" for i in range(SMALL_TABLES)]
        create = "create table bench.{0} (id bigint primary key, recorded_at timestamptz not null default now(), note text);"
        create += "create index on bench.{0} (recorded_at);insert into bench.{0} select i, default, 'row ' || i from generate_series(1, 20) i;"
        self.sql("source", "fleet", "\n".join(create.format(name) for name in names).replace("select i, default,", "select i, now(),"))
        table = '[[table]]\nname = "{0}"\nrelation = "bench.{0}"\nmode = "incremental"\nwatermark = "recorded_at"\nkey = ["id"]\n'
        env = self.prepare("ewkb", "local", "".join(table.format(name) for name in names))
        measure([self.dwh, "-q", "run", "--jobs", "4"], env)
        for name in names[:SMALL_CHANGED]:
            self.sql("source", "fleet", f"insert into bench.{name} (id, note) values (1000, 'new');")
        self.many = measure([self.dwh, "-q", "run", "--jobs", "4"], env)


def median(entries: list, who: str, what: str) -> float:
    return statistics.median(entry[who][what] for entry in entries)


def summary(results: list) -> list:
    groups: dict = {}
    for entry in results:
        groups.setdefault((entry["case"], entry["geometry"], entry["rows"]), []).append(entry)
    return [
        {
            "case": case, "geometry": geometry, "rows": rows, "repeats": len(entries),
            "by_hand_seconds": median(entries, "by hand", "seconds"), "dwh_seconds": median(entries, "dwh", "seconds"),
            "ratio": statistics.median(entry["ratio"] for entry in entries), "goal": GOALS.get(case),
            "dwh_cpu_seconds": median(entries, "dwh", "cpu_seconds"), "dwh_peak_mib": max(entry["dwh"]["peak_mib"] for entry in entries),
        }
        for (case, geometry, rows), entries in groups.items()
    ]


def table(rows: list, many: dict | None) -> str:
    lines = [
        "| case | geometry | table rows | by hand s | dwh s | × by hand | goal | dwh CPU s | dwh peak MiB |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        goal = f"≤ {row['goal']:.2f}" if row["goal"] else ""
        lines.append(
            f"| {row['case']} | {row['geometry']} | {row['rows']:,} | {row['by_hand_seconds']:.2f} | {row['dwh_seconds']:.2f} "
            f"| {row['ratio']:.2f} | {goal} | {row['dwh_cpu_seconds']:.2f} | {row['dwh_peak_mib']:.0f} |"
        )
    if many:
        lines += ["", f"{SMALL_TABLES} small tables of which {SMALL_CHANGED} changed, `--jobs 4`: {many['seconds']:.2f} s (goal ≤ 3)"]
    return "\n".join(lines)


def machine(bench: Bench) -> dict:
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True, check=False)
    return {
        "cpus": os.cpu_count(), "cpu": cpu, "kernel": platform.release(), "settings": SETTINGS, "commit": commit.stdout.strip(),
        "postgresql": bench.sql("source", "postgres", "show server_version;"),
        "postgis": bench.sql("source", "fleet", "select extversion from pg_extension where extname = 'postgis';"),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000], help="rows of the first load; several show how it grows")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions of every pair")
    parser.add_argument("--geometry", nargs="+", choices=["ewkb", "ewkt"], default=["ewkb", "ewkt"])
    parser.add_argument("--no-s3", action="store_true", help="leave out the runs through an S3 server")
    parser.add_argument("--dwh", type=Path, default=Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "dwh")
    parser.add_argument("--json", type=Path, default=ROOT / "target" / "bench" / "end_to_end.json")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    work = Path(tempfile.mkdtemp(prefix="dwh-bench."))
    work.chmod(0o711)  # the servers run as another user when this runs as root
    try:
        bench = Bench(work, asked.repeat, asked.dwh.resolve())
        for rows in asked.rows:
            bench.seed(rows)
            for geometry in asked.geometry:
                bench.series(rows, geometry, "local")
        if not asked.no_s3:
            os.environ |= {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": os.urandom(16).hex()}
            bench.env |= {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
            bench.series(asked.rows[-1], "ewkb", script("s3.sh", "up", str(work / "s3"), "bronze"))
        bench.small_tables()
        rows = summary(bench.results)
        report = {"machine": machine(bench), "summary": rows, "small_tables": bench.many, "runs": bench.results}
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(report, indent=2) + "\n")
        print(table(rows, bench.many))
        say(f"written to {asked.json}")
    finally:
        script("s3.sh", "down", str(work / "s3"))
        for end in ("source", "target"):
            script("postgres.sh", "down", str(work / end))
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
