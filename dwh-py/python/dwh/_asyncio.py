"""How asyncio waits for a call of the engine."""

import asyncio
from typing import Any, Optional


async def drive(call: Any) -> Any:
    """Begins the call and waits for its end.

    Cancelling the task asks the engine to stop, and waits until it has; cancelling it once more drops the work, which
    the next run puts in order as after a crash.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Any] = loop.create_future()

    def settle(report: Any, exception: Optional[BaseException]) -> None:
        if exception is None:
            ended.set_result(report)
        else:
            ended.set_exception(exception)

    def tell(report: Any, exception: Optional[BaseException]) -> None:
        loop.call_soon_threadsafe(settle, report, exception)

    call.begin(tell)
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
