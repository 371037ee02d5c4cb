"""Other tools that move rows from PostgreSQL to PostgreSQL, each in an environment of its own (`scripts/setup.sh peers`).

They are measured as they are, in turn with the load by hand. What they leave is told, not judged: none of them promises
what dwh does.
"""

from pathlib import Path
from statistics import median

from harness.bars import turns
from harness.lab import COLUMNS, HERE, ROOT, Lab, position, say
from harness.loads import SLICE_ROWS
from harness.measure import Failed

HOME = ROOT / ".venv" / "peers"


def pgcopydb(lab: Lab, env: dict) -> list:
    filters = lab.work / "run" / "filters.ini"
    filters.write_text("[include-only-table]\nbench.position_history\n")
    unpacked = HOME / "pgcopydb" / "usr" / "bin" / "pgcopydb"
    binary = unpacked if unpacked.exists() else Path("pgcopydb")
    return [binary, "clone", "--source", env["SOURCE_URL"], "--target", env["TARGET_URL"], "--filters", filters, "--restart",
            "--no-owner", "--no-acl", "--skip-extensions", "--dir", lab.work / "run" / "pgcopydb"]


def sling(lab: Lab, env: dict) -> list:
    env |= {"SOURCE": env["DWH_SOURCE_URL"] + "?sslmode=disable", "TARGET": env["DWH_TARGET_URL"] + "?sslmode=disable", "SLING_HOME_DIR": str(lab.work / "run" / "sling"), "SLING_TEMP_DIR": str(lab.work / "run"), "HOME": str(lab.work / "run")}
    binary = next((HOME / "sling").glob("lib/python*/site-packages/sling_linux_*/bin/sling-linux-*"))
    return [binary, "run", "--src-conn", "SOURCE", "--src-stream", "bench.position_history", "--tgt-conn", "TARGET",
            "--tgt-object", "bench.position_history", "--mode", "incremental", "--primary-key", "imei,gps_time", "--update-key", "recorded_at"]


def dlt(lab: Lab, env: dict) -> list:
    env |= {"DLT_DATA_DIR": str(lab.work / "run" / "dlt"), "RUNTIME__DLTHUB_TELEMETRY": "false", "HOME": str(lab.work / "run")}
    return [HOME / "dlt" / "bin" / "python", HERE / "peers" / "dlt_load.py"]


# how a command is made, and whether a second run takes the new rows
PEERS = {"pgcopydb": (pgcopydb, False), "sling": (sling, True), "dlt": (dlt, True)}


def left(lab: Lab) -> str:
    """What a tool left in the target, beside what is at the source."""
    types = "select string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' order by attname) from pg_attribute where attrelid = 'bench.position_history'::regclass and attnum > 0 and not attisdropped and attname !~ '^_';"
    key = "select count(*) from pg_constraint where conrelid = 'bench.position_history'::regclass and contype = 'p';"
    sums = f"select count(*), sum(hashtextextended(row({COLUMNS})::text, 0)) from bench.position_history;"
    ends = (("source", lab.database), ("target", "warehouse"))
    told = []
    rows = [lab.sql(*end, "select count(*) from bench.position_history;") for end in ends]
    if rows[0] != rows[1]:
        told.append(f"{int(rows[1]):,} of {int(rows[0]):,} rows")
    if len({lab.sql(*end, types) for end in ends}) > 1:
        told.append("other types")
    elif len({lab.sql(*end, sums) for end in ends}) > 1:
        told.append("other values")
    if lab.sql("target", "warehouse", key) == "0":
        told.append("no key")
    return ", ".join(told) or "the same rows, types and key"


def measure_peer(lab: Lab, name: str) -> list:
    make, again = PEERS[name]
    pairs: dict = {}
    lefts: dict = {}
    try:
        for turn in turns(lab, 3):
            env = lab.prepare(position())
            lab.sql("target", "warehouse", "create schema bench;" if name != "pgcopydb" else "")
            command = make(lab, env)
            sides = {"by hand": lambda: lab.by_hand(env), name: lambda: lab.measure(command, env)}
            whats = ["first load"] + [f"slice of {SLICE_ROWS:,} rows", "nothing new"] * again
            for what in whats:
                if what.startswith("slice"):
                    lab.add_slice(lab.rows, SLICE_ROWS)
                pair = lab.in_turn(turn, sides)
                pairs.setdefault(what, []).append(pair)
                lefts[what] = left(lab)
            lab.drop_slices()
    except (Failed, OSError) as error:
        say(f"  FAILED: {error}")
        lefts["failed"] = " ".join(str(error).split())[:300]
    results = []
    for what, several in pairs.items():
        middle = {key: median(pair[name][key] for pair in several) for key in ("seconds", "cpu_seconds", "peak_mib")}
        ratios = [pair[name]["seconds"] / pair["by hand"]["seconds"] for pair in several]
        by_hand = median(pair["by hand"]["seconds"] for pair in several)
        results.append({"peer": name, "what": what, "ratio": median(ratios), "by_hand": by_hand, **middle, "left": lefts[what], "pairs": several})
    if "failed" in lefts:
        results.append({"peer": name, "what": "failed", "left": lefts["failed"]})
    return results


def measure_all(lab: Lab) -> list:
    lab.seed(lab.rows)
    found = []
    for name in PEERS:
        say(f"peer: {name}")
        found += measure_peer(lab, name)
    lab.drop_slices()
    return found
