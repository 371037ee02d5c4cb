"""What type checkers make of the package: never run, read by `make test-python`."""

import dwh


def of_a_file() -> list[str]:
    pipeline = dwh.Pipeline("dwh.toml", environment={"A": "b"}, progress=print)
    names: list[str] = pipeline.tables()
    report: dwh.RunReport = pipeline.run("trips")
    pipeline.run(names, jobs=2)
    params: dwh.LoadParams = pipeline.extract("trips")
    run: dwh.TableRun = pipeline.load(params)
    loaded: int = run.rows_loaded
    try:
        pipeline.verify(("trips",))
    except dwh.DataError as error:
        again: bool = error.retryable
        print(error.hint, again, loaded)
    return [str(one["table"]) for one in report.runs]


def of_sections() -> str:
    pipeline = dwh.Pipeline(project={"name": "fleet"}, blob={"url": "file:///tmp"})
    return pipeline.project


async def awaited() -> int:
    pipeline = dwh.AsyncPipeline({"project": {"name": "fleet"}})
    report: dwh.RunReport = await pipeline.run()
    return len(report.runs)


def refused() -> None:
    # each of these is an error, and a checker that sees none complains
    dwh.Pipeline(3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    dwh.Pipeline("dwh.toml").run(tables=3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    dwh.Pipeline("dwh.toml").runs(states=["done"])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]
