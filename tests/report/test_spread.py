import numpy as np
import pytest

from rcm_cascade.report.spread import Spread, spread


def test_a_spread_leaves_out_what_is_not_there() -> None:
    assert spread([]) == Spread(None, None, 0)
    assert spread([None, float("nan")]) == Spread(None, None, 0)
    assert spread([0.5, None]) == Spread(0.5, None, 1)
    both = spread([0.2, 0.4, float("nan")])
    assert both.mean == pytest.approx(0.3)
    assert both.n == 2
    assert both.sd == pytest.approx(np.std([0.2, 0.4], ddof=1))
