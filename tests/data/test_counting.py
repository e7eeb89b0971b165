import numpy as np
import pytest

from rcm_cascade.data import counting
from rcm_cascade.data.counting import count_values


@pytest.mark.parametrize("strip", [1, 100, 2**22])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_every_value_is_counted(strip: int, dtype: type[np.uint8 | np.int32], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "STRIP_PIXELS", strip)
    labels = np.random.default_rng(0).integers(0, 256, (37, 53), dtype=dtype)
    for map_ in (labels, labels[::2, 1::3]):
        counts = count_values(map_)
        assert counts.dtype == np.int64
        np.testing.assert_array_equal(counts, np.bincount(map_.reshape(-1), minlength=256))
