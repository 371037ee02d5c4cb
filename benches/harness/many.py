"""Bars of many small tables: round trips, not bytes."""

import shutil
from collections.abc import Iterator
from statistics import median

from harness.bars import Bar, Case, sample, turns
from harness.lab import Lab

CHANGED = 5
ROWS = 20


def make_tables(lab: Lab, count: int) -> str:
    """A source with so many tables; returns their part of a configuration."""
    lab.database = f"many_{count}"
    lab.sql("source", "postgres", f"drop database if exists {lab.database};\ncreate database {lab.database};")
    create = "create table bench.small_{0:04} (id bigint primary key, recorded_at timestamptz not null default now(), note text);"
    create += "create index on bench.small_{0:04} (recorded_at);"
    create += f"insert into bench.small_{{0:04}} select i, now(), 'row ' || i from generate_series(1, {ROWS}) i;"
    lab.sql("source", lab.database, "create schema bench;\n" + "\n".join(create.format(i) for i in range(count)) + "\nanalyze;")
    table = '[[table]]\nname = "small_{0:04}"\nrelation = "bench.small_{0:04}"\nmode = "incremental"\nwatermark = "recorded_at"\nkey = ["id"]\n'
    return "".join(table.format(i) for i in range(count))


def loaded(lab: Lab, count: int) -> dict:
    env = lab.prepare(make_tables(lab, count))
    lab.measure([lab.dwh, "-q", "run", "--jobs", "4"], env)
    return env


def changed(count: int) -> Case:
    bar = Bar(f"{count} tables of which {CHANGED} changed, --jobs 4", 2, "s", "–")

    def run(lab: Lab) -> Iterator[dict]:
        env = loaded(lab, count)
        for turn in turns(lab):
            for i in range(CHANGED):
                lab.sql("source", lab.database, f"insert into bench.small_{i:04} (id, note) values ({1000 + turn}, 'new');")
            lab.checkpoint()
            found = lab.measure([lab.dwh, "-q", "run", "--jobs", "4"], env)
            got = lab.sql("target", "warehouse", f"select count(*) from bronze.small_{CHANGED - 1:04};")
            if got != str(ROWS + turn + 1):
                raise AssertionError(f"bronze has {got} rows after {turn + 1} changes")
            yield sample(bar.name, found["seconds"], sides={"dwh": found})

    return Case([bar], run, 1.5, fixed=1.5)


def nothing_new(counts: list) -> Case:
    """The curve over the numbers of tables, and the goals of the largest."""
    most = counts[-1]
    verbs = {"run": ["run", "--jobs", "4"], "status": ["status"], "check": ["check"], "init": ["init", "bench.*", "--dry-run"]}
    goals = {"run": 10, "status": 1, "check": 10, "init": 10}
    bars = {verb: Bar(f"{most:,} tables, nothing new: {verb}", goal, "s", "–") for verb, goal in goals.items()}

    def run(lab: Lab) -> Iterator[dict]:
        for count in counts:
            env = loaded(lab, count)
            env["DWH_BLOB_URL"] = f"file://{lab.work}/run/blobs"
            point = {"tables": count}
            for verb, words in verbs.items():
                words = words + ["--blob", env["DWH_BLOB_URL"]] if verb == "init" else words
                # `check` ends with 4 where it warns of what a benchmark does not care for
                codes = (0, 4) if verb == "check" else (0,)
                found_all = []
                for _ in turns(lab, limit=60):
                    lab.forget_statements()
                    found = lab.measure([lab.dwh, "-q", *words], env, codes)
                    found["statements"] = lab.statements()
                    found_all.append(found)
                    if count == most:
                        yield sample(bars[verb].name, found["seconds"], sides={"dwh": found})
                point |= {f"{verb}, s": median(found["seconds"] for found in found_all), f"{verb}, MiB": max(found["peak_mib"] for found in found_all)}
                point |= {f"{verb}, statements at the {end}": found_all[-1]["statements"][end] for end in ("source", "target")}
            yield {"bar": None, "curve": "tables", "point": point}
            lab.sql("source", "postgres", f"drop database {lab.database};")
            shutil.rmtree(lab.work / "run" / "blobs", ignore_errors=True)

    return Case(list(bars.values()), run, 12.0, fixed=12.0)
