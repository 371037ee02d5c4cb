"""`AsyncPipeline`: the same verbs awaited, at the same time, and stopped with their task."""

import asyncio
import gc
import os
import signal
import sys
from datetime import datetime, timedelta, timezone

import dwh
import pytest
from conftest import Project, in_background


@pytest.fixture
def pipeline(project: Project) -> dwh.AsyncPipeline:
    dwh.Pipeline(project.config).migrate()
    return dwh.AsyncPipeline(project.config)


async def begun(project: Project) -> None:
    """Comes back when `slow` is being copied out."""
    await asyncio.to_thread(project.wait_for_reader)


def test_every_verb_is_awaited(project: Project) -> None:
    async def calls() -> None:
        pipeline = dwh.AsyncPipeline(project.config)
        await pipeline.migrate()
        await pipeline.check()
        [plan] = await pipeline.plan(["events"])
        params = await pipeline.extract("events")
        assert (await pipeline.load(params)).rows_loaded == 50
        assert (await pipeline.run(["devices"])).runs[0]["rows_loaded"] == 2
        assert len(await pipeline.runs(["events"])) == 1
        assert (await pipeline.run_details(params.run_id)).run["table_name"] == "events"
        assert len((await pipeline.status()).tables) == 3
        await pipeline.verify(["events", "devices"])
        yesterday = datetime.now(timezone.utc) - timedelta(days=1)
        assert (await pipeline.backfill("events", from_=yesterday)).runs
        assert (await pipeline.reseed(["events"])).tables[0]["kind"] == "reseed"
        assert (await pipeline.recover(["events", "devices"])).found == []
        assert (await pipeline.replay("devices")).runs
        assert (await pipeline.rebuild(["events"], dry_run=True)).in_the_way
        assert (await pipeline.prune(dry_run=True)).dry_run
        project.source("insert into app.events (id) values (51)")
        waiting = await pipeline.extract("events")
        assert (await pipeline.set_aside(waiting.run_id)).found[0]["outcome"] == "mended"

    asyncio.run(calls())


def test_calls_run_at_the_same_time(project: Project, pipeline: dwh.AsyncPipeline) -> None:
    async def calls() -> None:
        both = await asyncio.gather(pipeline.run(["events"]), pipeline.run(["devices"]))
        assert [report.runs[0]["table"] for report in both] == ["events", "devices"]
        slow = asyncio.create_task(pipeline.run(["slow"]))
        await begun(project)
        # One waits, others come and go.
        await pipeline.run(["devices"])
        with pytest.raises(dwh.LockedError) as caught:
            await pipeline.run(["slow"])
        assert caught.value.report.runs[0]["table"] == "slow"
        assert not slow.done()
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow

    asyncio.run(calls())


def test_a_cancelled_call_has_ended_tidily(project: Project, pipeline: dwh.AsyncPipeline) -> None:
    async def calls() -> None:
        slow = asyncio.create_task(pipeline.run(["slow"]))
        await begun(project)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        # Without waiting: the engine had its time to say so.
        assert project.states("slow") == ["failed"]
        await pipeline.run(["devices"])

    asyncio.run(calls())


def test_a_timeout_has_ended_tidily(project: Project, pipeline: dwh.AsyncPipeline) -> None:
    async def calls() -> None:
        slow = asyncio.create_task(pipeline.run(["slow"]))
        await begun(project)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(slow, 0.01)
        assert project.states("slow") == ["failed"]

    asyncio.run(calls())


def test_a_second_cancellation_does_not_wait(project: Project, pipeline: dwh.AsyncPipeline) -> None:
    async def calls() -> None:
        slow = asyncio.create_task(pipeline.run(["slow"]))
        await begun(project)
        slow.cancel()
        await asyncio.sleep(0)  # the first one arrives
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow

    asyncio.run(calls())
    # Dropped like a crash: the next call puts it in order.
    assert dwh.Pipeline(project.config).recover(["slow"], dry_run=True).errors == []


def test_waiting_for_another_run_can_be_cancelled(project: Project, pipeline: dwh.AsyncPipeline) -> None:
    async def calls() -> None:
        slow = asyncio.create_task(pipeline.run(["slow"]))
        await begun(project)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(pipeline.run(["slow"], wait=True), 0.2)
        assert not slow.done() and project.states("slow") == ["extracting"]
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow

    asyncio.run(calls())


def test_ctrl_c_stops_the_loop_and_the_run(project: Project, pipeline: dwh.AsyncPipeline) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt() -> None:
        project.wait_for_reader()
        os.kill(os.getpid(), signal.SIGINT)

    in_background(interrupt)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(pipeline.run(["slow"]))
    assert project.states("slow") == ["failed"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_works_while_its_parent_does(project: Project, pipeline: dwh.AsyncPipeline) -> None:
    async def calls() -> None:
        slow = asyncio.create_task(pipeline.run(["slow"]))
        await begun(project)
        child = os.fork()
        if child == 0:
            asyncio._set_running_loop(None)  # the parent's loop is not this one's
            code = 1
            try:
                code = 0 if asyncio.run(pipeline.run(["devices"])).runs[0]["rows_loaded"] == 2 else 2
                slow.get_coro().close()  # the copy of a call that is the parent's to stop
            finally:
                os._exit(code)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
        assert not slow.done() and project.states("slow") == ["extracting"]
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow

    asyncio.run(calls())


def test_exceptions_and_what_needs_a_loop(project: Project, pipeline: dwh.AsyncPipeline) -> None:
    async def failing() -> None:
        project.source("drop table app.devices")
        with pytest.raises(dwh.NotFoundError) as caught:
            await pipeline.run(["devices"])
        assert caught.value.report.runs[0]["error"]["code"] == "not_found"
        with pytest.raises(dwh.ConfigError):
            await pipeline.run(["nothing"])

    asyncio.run(failing())
    assert repr(pipeline).startswith("AsyncPipeline(")
    unawaited = pipeline.run(["events"])
    unawaited.close()
    assert project.states("events") == [], "a call that is not awaited does nothing"


def test_a_loop_that_was_given_up_stops_its_calls(project: Project, pipeline: dwh.AsyncPipeline) -> None:
    loop = asyncio.new_event_loop()
    slow = loop.create_task(pipeline.run(["slow"]))
    loop.run_until_complete(begun(project))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    slow.get_coro().close()
    # The lease dies with the call: the table is free again, and the run is found dead.
    found = []
    sync = dwh.Pipeline(project.config)
    while not found:
        try:
            found = sync.recover(["slow"]).found
        except dwh.LockedError:
            continue
    assert [one["state"] for one in found] == ["dead_run"]
    slow._log_destroy_pending = False
    del slow
    gc.collect()
