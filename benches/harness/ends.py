"""Bars of one end alone: COPY out through our stream, and the comparison of both ends."""

from collections.abc import Iterator

from harness.bars import Bar, Case, ratio, sample, turns
from harness.lab import Lab, position
from harness.measure import Failed, measure

# what any comparison must do at least: read all rows once and hash them
AGGREGATE = "select count(*), sum(('x' || left(md5(t::text), 15))::bit(60)::bigint) from {}.position_history t;"


def copy_out() -> Case:
    bar = Bar("COPY out into the spool, counted and hashed", 1.10, "×", "psql -c COPY … > file")

    def run(lab: Lab) -> Iterator[dict]:
        lab.seed(lab.rows)
        env = lab.prepare(position(mode="snapshot"), migrate=False)

        def ours() -> dict:
            found = measure([lab.release / "copy_out", env["DWH_CONFIG"], "position_history"], env)
            if not found.pop("output").startswith(f"{lab.rows} rows, "):
                raise Failed("our stream did not deliver all rows")
            return found

        for turn in turns(lab):
            found = lab.in_turn(turn, {"psql": lambda: lab.by_hand(env, what="out"), "dwh": ours})
            yield ratio(bar.name, found, beside="psql")

    return Case([bar], run, 0.8)


def verify() -> Case:
    bar = Bar("verify", 1.20, "×", "count(*) and md5 aggregate, the slower end")

    def run(lab: Lab) -> Iterator[dict]:
        lab.seed(lab.rows)
        env = lab.prepare(position(window="1d"))
        lab.measure([lab.dwh, "-q", "run"], env)
        lab.sql("target", "warehouse", "vacuum analyze bronze.position_history;")
        ends = {"source": ("SOURCE_URL", "bench"), "target": ("TARGET_URL", "bronze")}
        sides = {end: lambda url=url, schema=schema: lab.measure([f"{lab.bin}/psql", "-X", "-q", "-c", AGGREGATE.format(schema), env[url]], env) for end, (url, schema) in ends.items()}
        sides["dwh"] = lambda: lab.measure([lab.dwh, "-q", "verify"], env)
        for turn in turns(lab):
            found = lab.in_turn(turn, sides)
            slower = max(found["source"]["seconds"], found["target"]["seconds"])
            yield sample(bar.name, found["dwh"]["seconds"] / slower, sides=found)

    return Case([bar], run, 1.8)


