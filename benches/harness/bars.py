"""What a bar is: a goal with its unit, and the function that yields its samples."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.lab import Lab


@dataclass(frozen=True)
class Bar:
    """A name, a goal, and what is set beside it. `unit` is what the value is counted in; × is a ratio to the yardstick."""

    name: str
    goal: float
    unit: str = "×"
    yardstick: str = "by hand"
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.goal if self.at_least else value <= self.goal

    def goal_text(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.goal:g} {self.unit}"


@dataclass(frozen=True)
class Case:
    """Bars that are measured together. `run` is a generator: what it yielded before it failed counts."""

    bars: list
    run: Callable[[Lab], Iterator[dict]]
    minutes: float  # of a whole run at full size on two cores, for the estimate
    fixed: float = 0.0  # the part of it that does not depend on the number of rows

    @property
    def names(self) -> list:
        return [bar.name for bar in self.bars]


def turns(lab: Lab, most: int | None = None, limit: float = 420) -> Iterator[int]:
    """The numbers of the pairs; ends early when the next one would take the case beyond `limit` seconds."""
    began = time.monotonic()
    for turn in range(min(lab.pairs, most or lab.pairs)):
        used = time.monotonic() - began
        if turn and used + used / turn > limit:
            return
        yield turn


def sample(bar: str, value: float, **more: object) -> dict:
    return {"bar": bar, "value": value, **more}


def ratio(bar: str, found: dict, who: str = "dwh", beside: str = "by hand") -> dict:
    return sample(bar, found[who]["seconds"] / found[beside]["seconds"], sides=found)
