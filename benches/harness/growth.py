"""How time and memory grow with the number of rows."""

from collections.abc import Iterator
from statistics import median

from harness.bars import Bar, Case, sample, turns
from harness.lab import Lab, position

TABLES = 4
WHO = ("by hand", "dwh", "floor")


def sizes(lab: Lab) -> list:
    return [lab.rows // 10, lab.rows, lab.rows * 10]


def memory(store: str) -> Case:
    bar = Bar(f"peak memory, {TABLES} tables at a time, {store}", 64, "MiB", "–")

    def run(lab: Lab) -> Iterator[dict]:
        for rows in sizes(lab):
            # the same relation for all, so that only a quarter is made
            lab.seed(rows // TABLES)
            tables = "".join(position(f"position_{i}") for i in range(TABLES))
            for _ in turns(lab, 1 if rows > lab.rows else 3):
                env = lab.prepare(tables, store=store)
                found = lab.measure([lab.dwh, "-q", "run", "--jobs", str(TABLES)], env)
                counts = lab.sql("target", "warehouse", "\n".join(f"select count(*) from bronze.position_{i};" for i in range(TABLES))).split()
                if counts != [str(rows // TABLES)] * TABLES:
                    raise AssertionError(f"{rows:,} rows in {TABLES} tables, and bronze has {counts}")
                yield sample(bar.name, found["peak_mib"], rows=rows, sides={"dwh": found}, curve="rows", point={"rows": rows, f"four tables, {store}, MiB": found["peak_mib"]})
        lab.empty_target()

    return Case([bar], run, 5.0 if store == "local" else 7.0)


def growth() -> Case:
    bar = Bar("growth: time per row, 1/10 to 10 times the rows", 10, "% apart", "the middle size")

    def run(lab: Lab) -> Iterator[dict]:
        per_row = {who: {} for who in WHO}
        for rows in sizes(lab):
            lab.seed(rows)
            found_all = []
            for turn in turns(lab, 1 if rows > lab.rows else None, limit=150):
                env = lab.prepare(position(window="1d"))
                found = lab.in_turn(turn, {
                    "by hand": lambda: lab.by_hand(env),
                    "dwh": lambda: lab.measure([lab.dwh, "-q", "run"], env),
                    "floor": lambda: lab.floor(env, what="windows"),
                })
                lab.compare_with_hand(bar.name)
                lab.compare_with_floor(bar.name)
                found_all.append(found)
            point = {"rows": rows}
            for who in WHO:
                point[f"{who}, s"] = median(found[who]["seconds"] for found in found_all)
                per_row[who][rows] = point[f"{who}, s"] / rows
            point["one table, local, MiB"] = max(found["dwh"]["peak_mib"] for found in found_all)
            yield {"bar": None, "curve": "rows", "point": point, "pairs": found_all}
        lab.empty_target()
        lab.forget(lab.rows * 10)
        apart = {who: {rows: 100 * (value / of[lab.rows] - 1) for rows, value in of.items()} for who, of in per_row.items()}
        furthest = {who: max(abs(value) for value in of.values()) for who, of in apart.items()}
        yield sample(bar.name, furthest["dwh"], floor=furthest["floor"], apart=apart)

    return Case([bar], run, 12.0)
