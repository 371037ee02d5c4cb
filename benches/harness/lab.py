"""The place where everything is measured: two throwaway clusters, an S3 server, tables, configurations of dwh."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.measure import Failed, measure

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = ROOT / "benches"
# the rest as shipped: fsync and synchronous_commit are on
SETTINGS = ["shared_buffers=512MB", "max_wal_size=4GB", "shared_preload_libraries=pg_stat_statements"]
COLUMNS = "imei, gps_time, recorded_at, geom, speed_kmh, heading, ignition, altitude_m, address, raw"
ONE_CSV = "10000d"  # a window that holds the whole table
SECONDS_PER_ROW = 90 / 50  # how the stamps of data.sql grow: 50 rows every 90 seconds


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def script(name: str, *args: str) -> str:
    done = subprocess.run([ROOT / "scripts" / name, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"scripts/{name} {args[0]}: {done.stderr.strip()[-600:]}")
    return done.stdout.strip()


def position(name: str = "position_history", *, geometry: str = "ewkb", window: str = ONE_CSV, mode: str = "incremental") -> str:
    """One [[table]] of a configuration that copies bench.position_history."""
    text = f'[[table]]\nname = "{name}"\nrelation = "bench.position_history"\nmode = "{mode}"\ngeometry = "{geometry}"\n'
    if mode == "incremental":
        text += f'watermark = "recorded_at"\nkey = ["imei", "gps_time"]\nwindow = "{window}"\n'
    return text


class Lab:
    """Two clusters, and for every measurement a target database of its own."""

    def __init__(self, rows: int, pairs: int, dwh: Path):
        self.rows, self.pairs, self.dwh = rows, pairs, dwh
        self.release = dwh.parent
        self.work = Path(tempfile.mkdtemp(prefix="dwh-bench."))
        self.work.chmod(0o711)  # the servers run as another user when this runs as root
        self.env = os.environ.copy()
        self.database = ""
        self._s3 = ""
        self._seeded: set = set()

    def __enter__(self) -> "Lab":
        try:
            self.bin = script("postgres.sh", "bin")
            self.ports = {end: script("postgres.sh", "up", str(self.work / end), *SETTINGS) for end in ("source", "target")}
            self.env |= {"PATH": f"{self.bin}:{os.environ['PATH']}", "PSQLRC": os.devnull, "PGPASSFILE": str(self._pgpass())}
            self.sql("target", "postgres", "create database blank;")
            self.sql("target", "blank", "create extension postgis;")
            for end in ("source", "target"):
                self.sql(end, "postgres", "create extension pg_stat_statements;")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        script("s3.sh", "down", str(self.work / "s3"))
        for end in ("source", "target"):
            script("postgres.sh", "down", str(self.work / end))
        shutil.rmtree(self.work, ignore_errors=True)

    def _pgpass(self) -> Path:
        path = self.work / "pgpass"
        path.touch(0o600)
        path.write_text("".join(f"127.0.0.1:{port}:*:postgres:{self._password(end)}\n" for end, port in self.ports.items()))
        return path

    def _password(self, end: str) -> str:
        return (self.work / end / "password").read_text().strip()

    def url(self, end: str, database: str, password: bool = False) -> str:
        secret = f":{self._password(end)}" if password else ""
        return f"postgresql://postgres{secret}@127.0.0.1:{self.ports[end]}/{database}"

    def sql(self, end: str, database: str, text: str) -> str:
        command = [f"{self.bin}/psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-f", "-", self.url(end, database)]
        text = f"set client_min_messages = warning;\n{text}"
        done = subprocess.run(command, env=self.env, input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{end}, database {database}: {done.stderr.strip()[-600:]}")
        return done.stdout.strip()

    def both(self, calls: list) -> list:
        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(lambda call: call(), calls))

    # -- what stands at the source

    def seed(self, rows: int) -> str:
        """The database with so many rows, made when it is first asked for; every row is a function of its number."""
        name = f"fleet_{rows}"
        if name not in self._seeded:
            free = shutil.disk_usage(self.work).free
            # table and index twice, files of both ways, write-ahead log
            if free < rows * 2000 + (6 << 30):
                raise Failed(f"{rows:,} rows need {rows * 2000 // (1 << 30) + 6} GiB of free disk, there are {free >> 30}")
            say(f"seeding {rows:,} rows")
            self.sql("source", "postgres", f"drop database if exists {name};\ncreate database {name};")
            self.sql("source", name, (HERE / "data.sql").read_text())
            table, fill = "bench.position_history", "insert into bench.position_history select * from bench.position_rows"
            self.sql("source", name, f"alter table {table} drop constraint position_history_pkey;")
            half = rows // 2
            self.both([lambda part=part: self.sql("source", name, f"{fill}({part});") for part in (f"0, {half}", f"{half}, {rows}")])
            self.sql("source", name, f"alter table {table} add primary key (imei, gps_time);create index on {table} (recorded_at);\nvacuum (analyze, freeze) {table};\ncheckpoint;")
            self._seeded.add(name)
        self.database = name
        return name

    def forget(self, rows: int) -> None:
        """Drops what is large and not asked for again."""
        self._seeded.discard(f"fleet_{rows}")
        self.sql("source", "postgres", f"drop database if exists fleet_{rows};")

    def add_slice(self, first: int, rows: int) -> None:
        """New rows as an application writes them: stamped now, above the watermark of the load before."""
        columns = COLUMNS.replace("recorded_at", "now()")
        self.sql("source", self.database, f"insert into bench.position_history select {columns} from bench.position_rows({first}, {first + rows});")

    def drop_slices(self) -> None:
        self.sql("source", self.database, "delete from bench.position_history where recorded_at > now() - interval '1 day';\nvacuum analyze bench.position_history;")

    # -- what stands at the target, and the store

    def s3(self) -> str:
        if not self._s3:
            self.env |= {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": os.urandom(16).hex()}
            os.environ |= {name: self.env[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
            self._s3 = script("s3.sh", "up", str(self.work / "s3"), "bronze")
        return self._s3

    def empty_target(self) -> None:
        self.sql("target", "postgres", "drop database if exists warehouse with (force);\ncreate database warehouse template blank;")

    def prepare(self, tables: str, *, store: str = "local", compression: str = "none", migrate: bool = True) -> dict:
        """An empty target, an empty store, a configuration; returns the environment of a run."""
        self.empty_target()
        shutil.rmtree(self.work / "run", ignore_errors=True)
        (self.work / "run" / "blobs").mkdir(parents=True)
        self.configure(tables, store=store, compression=compression)
        env = self.run_env()
        self.measure([HERE / "by_hand.sh", "reset"], env)
        if migrate:
            self.measure([self.dwh, "-q", "migrate"], env)
        return env

    def configure(self, tables: str, *, store: str = "local", compression: str = "none") -> None:
        blob = f'url = "file://{self.work}/run/blobs"' if store == "local" else f'url = "s3://bronze/{time.time_ns()}"\nendpoint = "{self.s3()}"'
        (self.work / "run" / "dwh.toml").write_text(
            '[project]\nname = "bench"\ntimezone = "UTC"\ncadence = "3h"\n[source.bench]\nurl = "${DWH_SOURCE_URL}"\n'
            f'[target]\nurl = "${{DWH_TARGET_URL}}"\n[blob]\n{blob}\ncompression = "{compression}"\n{tables}'
        )

    def run_env(self) -> dict:
        return self.env | {
            "DWH_CONFIG": str(self.work / "run" / "dwh.toml"),
            "DWH_SOURCE_URL": self.url("source", self.database, password=True),
            "DWH_TARGET_URL": self.url("target", "warehouse", password=True),
            "SOURCE_URL": self.url("source", self.database),
            "TARGET_URL": self.url("target", "warehouse"),
        }

    # -- measuring

    def measure(self, command: list, env: dict, codes: tuple = (0,)) -> dict:
        found = measure(command, env, codes)
        del found["output"]
        return found

    def checkpoint(self) -> None:
        self.both([lambda: self.sql("source", "postgres", "checkpoint;"), lambda: self.sql("target", "postgres", "checkpoint;")])

    def by_hand(self, env: dict, geometry: str = "ewkb", what: str = "load") -> dict:
        return self.measure([HERE / "by_hand.sh", what, geometry, str(self.work / "run" / "staged.csv")], env)

    def floor(self, env: dict, store: str = "local", geometry: str = "ewkb", what: str = "floor") -> dict:
        """What the servers alone need for the same rows; `by_hand.sh` says how."""
        if store != "local":
            address = self.s3()  # which sets the keys, too
            env = self.env | env | {"PUT_URL": f"{address}/bronze/floor-{time.time_ns()}.csv"}
        return self.by_hand(env, geometry, what)

    def newest(self) -> str:
        return self.sql("source", self.database, "select max(recorded_at) from bench.position_history;")

    def in_turn(self, turn: int, sides: dict) -> dict:
        """Measures all sides, one right after the other, in an order that changes from turn to turn; each after a
        checkpoint, so that none pays for what another wrote."""
        found = {}
        for who in sorted(sides, reverse=turn % 2 == 1):
            self.checkpoint()
            found[who] = sides[who]()
        return found

    def compare(self, what: str, *tables: tuple) -> None:
        """Fails unless all tables, each (end, database, name), hold the same rows."""
        text = f"select count(*), sum(hashtextextended(row({COLUMNS})::text, 0)) from {{}};"
        sums = self.both([lambda end=end, database=database, name=name: self.sql(end, database, text.format(name)) for end, database, name in tables])
        if len(set(sums)) != 1:
            raise Failed(f"{what}: different rows were left: {dict(zip([name for _, _, name in tables], sums))}")

    def compare_with_hand(self, what: str) -> None:
        self.compare(what, *(("target", "warehouse", f"{schema}.position_history") for schema in ("byhand", "bronze")))

    def compare_with_floor(self, what: str) -> None:
        self.compare(f"floor of {what}", *(("target", "warehouse", f"byhand.{table}") for table in ("position_history", "floor")))

    def statements(self) -> dict:
        """How many statements each end has run since `forget_statements`."""
        return {end: int(self.sql(end, "postgres", "select coalesce(sum(calls), 0) from pg_stat_statements where query !~ 'pg_stat_statements';")) for end in ("source", "target")}

    def forget_statements(self) -> None:
        for end in ("source", "target"):
            self.sql(end, "postgres", "select pg_stat_statements_reset();")
