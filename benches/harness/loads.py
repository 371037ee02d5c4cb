"""Bars of one table: first load, slices, nothing new, replay, snapshot, jobs, rebuild."""

from collections.abc import Iterator

from harness.bars import Bar, Case, ratio, sample, turns
from harness.lab import SECONDS_PER_ROW, Lab, position

SLICE_ROWS = 10_000
REBUILD_FILES = 30
CPUS_FOR_JOBS = 8  # two clusters and dwh beside each other: below that, four jobs share the cores of one


def first_load(goal: float, minutes: float, *, geometry: str = "ewkb", store: str = "local", compression: str = "none", cpu_goal: float | None = None) -> Case:
    how = ", ".join([geometry, store] + [compression] * (compression != "none"))
    bars = [Bar(f"first load, {how}", goal)]
    packed = {"PACK": compression} if compression != "none" else {}
    if cpu_goal:
        bars.append(Bar(f"client CPU, a million rows, {how}", cpu_goal, "s", "–"))

    def run(lab: Lab) -> Iterator[dict]:
        lab.seed(lab.rows)
        for turn in turns(lab):
            env = lab.prepare(position(geometry=geometry), store=store, compression=compression)
            found = lab.in_turn(turn, {
                "by hand": lambda: lab.by_hand(env, geometry),
                "dwh": lambda: lab.measure([lab.dwh, "-q", "run"], env),
                "floor": lambda: lab.floor(env | packed, store, geometry),
            })
            lab.compare_with_hand(bars[0].name)
            lab.compare_with_floor(bars[0].name)
            yield ratio(bars[0].name, found)
            if cpu_goal:
                yield sample(bars[1].name, found["dwh"]["cpu_seconds"] * 1_000_000 / lab.rows, sides=found)

    return Case(bars, run, minutes)


def slices(store: str, goals: tuple) -> Case:
    bars = [Bar(f"slice of {SLICE_ROWS:,} rows, {store}", goals[0]), Bar(f"nothing new, {store}", goals[1])]

    def run(lab: Lab) -> Iterator[dict]:
        lab.seed(lab.rows)
        env = lab.prepare(position(), store=store)
        sides = {"by hand": lambda: lab.by_hand(env), "dwh": lambda: lab.measure([lab.dwh, "-q", "run"], env)}
        rows = min(SLICE_ROWS, lab.rows)
        try:
            lab.in_turn(0, sides | {"floor": lambda: lab.floor(env, "local")})
            sides["floor"] = lambda: lab.floor(env | {"SINCE": since}, store, what="newer")
            # one turn that does not count: the first slice comes right after the first load
            for turn in range(-1, lab.pairs):
                since = lab.newest()
                lab.add_slice(lab.rows + (turn + 1) * rows, rows)
                slice_found = lab.in_turn(turn, sides)
                since = lab.newest()
                nothing_found = lab.in_turn(turn, sides)
                lab.compare_with_hand(bars[0].name)
                lab.compare_with_floor(bars[0].name)
                if turn >= 0:
                    yield ratio(bars[0].name, slice_found)
                    yield ratio(bars[1].name, nothing_found)
        finally:
            lab.drop_slices()

    return Case(bars, run, 1.5)


def replay() -> Case:
    bar = Bar("replay of a loaded CSV", 0.50)

    def run(lab: Lab) -> Iterator[dict]:
        lab.seed(lab.rows)
        env = lab.prepare(position())
        lab.measure([lab.dwh, "-q", "run"], env)
        for turn in turns(lab):
            lab.by_hand(env, what="reset")
            found = lab.in_turn(turn, {
                "by hand": lambda: lab.by_hand(env),
                "dwh": lambda: lab.measure([lab.dwh, "-q", "replay", "position_history"], env),
            })
            # of the file that the yardstick left
            found |= lab.in_turn(turn, {"floor": lambda: lab.floor(env, what="staged")})
            lab.compare_with_hand(bar.name)
            yield ratio(bar.name, found)

    return Case([bar], run, 3.0)


def snapshot() -> Case:
    bar = Bar("snapshot over as many rows", 0.40)

    def run(lab: Lab) -> Iterator[dict]:
        lab.seed(lab.rows)
        env = lab.prepare(position(mode="snapshot"))
        lab.measure([lab.dwh, "-q", "run"], env)
        for turn in turns(lab):
            lab.by_hand(env, what="reset")
            found = lab.in_turn(turn, {
                "by hand": lambda: lab.by_hand(env),
                "dwh": lambda: lab.measure([lab.dwh, "-q", "run"], env),
                "floor": lambda: lab.floor(env),
            })
            lab.compare_with_hand(bar.name)
            yield ratio(bar.name, found)

    return Case([bar], run, 3.0)


def jobs(cpus: int) -> Case:
    # never slower, by more than the noise: where the cores are not there
    bar = Bar("first load of one table, --jobs 4", 1.6 if cpus >= CPUS_FOR_JOBS else 0.95, "× faster", "--jobs 1", at_least=True)

    def run(lab: Lab) -> Iterator[dict]:
        lab.seed(lab.rows)
        for turn in turns(lab):
            found = {}
            for count in ("1", "4") if turn % 2 == 0 else ("4", "1"):
                env = lab.prepare(position(window="1d"))
                lab.checkpoint()
                found[f"--jobs {count}"] = lab.measure([lab.dwh, "-q", "run", "--jobs", count], env)
                lab.compare(bar.name, ("source", lab.database, "bench.position_history"), ("target", "warehouse", "bronze.position_history"))
            yield sample(bar.name, found["--jobs 1"]["seconds"] / found["--jobs 4"]["seconds"], sides=found)

    return Case([bar], run, 3.5)


def rebuild() -> Case:
    bar = Bar(f"rebuild from {REBUILD_FILES} CSV files", 0.55)

    def run(lab: Lab) -> Iterator[dict]:
        lab.seed(lab.rows)
        window = int(lab.rows * SECONDS_PER_ROW / REBUILD_FILES) + 1
        env = lab.prepare(position(window=f"{window}s"))
        lab.measure([lab.dwh, "-q", "run"], env)
        for turn in turns(lab):
            lab.empty_target()
            lab.by_hand(env, what="reset")
            found = lab.in_turn(turn, {
                "by hand": lambda: lab.by_hand(env),
                "dwh": lambda: lab.measure([lab.dwh, "-q", "rebuild"], env),
            })
            found |= lab.in_turn(turn, {"floor": lambda: lab.floor(env, what="restore")})
            lab.compare_with_hand(bar.name)
            yield ratio(bar.name, found)

    return Case([bar], run, 3.0)
