from math import inf

import pytest

from rcm_cascade.training.module import progress, warmup_cosine


def test_progress_is_the_larger_share() -> None:
    assert progress(50, 100, 30, 60) == 0.5
    assert progress(50, 100, 45, 60) == 0.75
    assert progress(50, inf, 15, 60) == 0.25
    assert progress(50, 100, 1000, None) == 0.5
    assert progress(150, 100, 0, None) == 1
    assert progress(7, inf, 7, None) == 0


def test_the_rate_rises_then_falls_to_the_final_share() -> None:
    rates = [warmup_cosine(i / 100, 0.1, 0.01) for i in range(101)]
    assert 0 < rates[0] <= 0.01
    assert max(rates) == rates[10] == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[:11] == sorted(rates[:11])
    assert rates[100] == pytest.approx(0.01)


def test_without_warm_up_it_starts_at_the_top() -> None:
    assert warmup_cosine(0, 0, 0) == 1
