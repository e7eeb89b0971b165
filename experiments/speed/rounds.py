"""Things to time that take turns, so that what else the machine does falls on each alike."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Timed:
    """Something to time.

    Args:
        name: as the table shows it.
        run: does it once; gives the seconds that one unit of it took: a step, or a patch.
        seconds: of a unit, one number a round.
    """

    name: str
    run: Callable[[], float]
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median seconds of a unit."""
        return median(self.seconds)


def take_turns(contenders: Sequence[Timed], rounds: int) -> None:
    """Runs all of them in turn, so many times."""
    for number in range(rounds):
        for contender in contenders:
            contender.seconds.append(contender.run())
            print(f"round {number + 1}: {contender.name}: {contender.seconds[-1] * 1e3:.2f} ms", file=sys.stderr)
