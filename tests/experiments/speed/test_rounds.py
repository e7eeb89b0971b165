from collections.abc import Callable

import pytest

from experiments.speed.rounds import Timed, take_turns


def test_they_run_in_turn_and_the_median_counts(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def runner(name: str, seconds: list[float]) -> Callable[[], float]:
        def run() -> float:
            order.append(name)
            return seconds.pop(0)

        return run

    runs = [Timed("a", runner("a", [1.0, 9.0, 2.0])), Timed("b", runner("b", [5.0, 4.0, 6.0]))]
    take_turns(runs, 3)

    assert order == ["a", "b"] * 3
    assert [run.median for run in runs] == [2.0, 5.0]
    assert "round 2: a: 9000.00 ms" in capsys.readouterr().err
