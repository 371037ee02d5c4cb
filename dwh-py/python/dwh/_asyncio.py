"""How asyncio waits for a call of the engine."""

import asyncio


async def drive(call):
    """Begins the call and waits for its end.

    Cancelling the task asks the engine to stop, and waits until it has; cancelling it once more drops the work, which
    the next run puts in order as after a crash.
    """
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def settle(report, exception):
        if exception is None:
            ended.set_result(report)
        else:
            ended.set_exception(exception)

    call.begin(lambda report, exception: loop.call_soon_threadsafe(settle, report, exception))
    try:
        try:
            await asyncio.wait((ended,))
        except asyncio.CancelledError:
            call.cancel()
            await asyncio.wait((ended,))
            ended.exception()  # its story is told by the cancellation
            raise
        return ended.result()
    finally:
        call.abort()
