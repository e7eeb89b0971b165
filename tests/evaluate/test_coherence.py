import numpy as np
import pytest
from numpy.typing import NDArray

from rcm_cascade.data import intensity
from rcm_cascade.evaluate.coherence import SMALL_PX, measure_coherence, pool_coherence

# 0.05 mm² at 50 µm are 20 px: a region of 20 px is no small one, one of 19 px is.
PIXEL_UM = 50.0


def drawn() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    labels = np.zeros((20, 30), np.uint8)
    labels[2:6, 2:7] = 1  # 20 px
    labels[6, 7] = 1  # joined by its corner: 21 px
    labels[10:15, 2:6] = 1  # 20 px, of which the mask takes one: 19
    labels[0, 20] = 2
    labels[1, 21] = 2  # one region by its corner
    labels[5, 25] = 2
    mask = np.ones((20, 30), bool)
    mask[10, 2] = False
    return labels, mask


@pytest.mark.parametrize("strip", [1, 2**24])
def test_regions_by_hand(strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intensity, "STRIP_PIXELS", strip)
    labels, mask = drawn()
    result = measure_coherence(labels, mask, 4, PIXEL_UM)
    assert result.regions.tolist() == [1, 2, 2, 0]
    assert result.small_regions.tolist() == [0, 1, 2, 0]
    assert result.area_px.tolist() == [600 - 21 - 20 - 3, 21 + 19, 3, 0]
    assert result.small_area_px.tolist() == [0, 19, 3, 0]
    assert result.area_px.sum() == mask.sum()


def test_mask_cuts_regions_apart() -> None:
    labels, mask = np.full((9, 9), 1, np.uint8), np.ones((9, 9), bool)
    assert measure_coherence(labels, mask, 2, 1.0).regions.tolist() == [0, 1]
    mask[4] = False
    assert measure_coherence(labels, mask, 2, 1.0).regions.tolist() == [0, 2]
    assert measure_coherence(labels, np.zeros((9, 9), bool), 2, 1.0).regions.tolist() == [0, 0]


def test_smallness_follows_the_pixel_size_and_has_one_in_px() -> None:
    labels, mask = np.zeros((250, 250), np.uint8), np.ones((250, 250), bool)
    labels[:, 205:] = 1  # 51250 and 11250 px
    assert measure_coherence(labels, mask, 2, 1.0).small_regions.tolist() == [0, 1]
    assert measure_coherence(labels, mask, 2, 0.5).small_regions.tolist() == [1, 1]
    assert measure_coherence(labels, mask, 2, 4.0).small_regions.tolist() == [0, 0]
    assert measure_coherence(labels, mask, 2, None).small_regions.tolist() == [0, 1]


def test_pooling_adds_areas_in_mm2() -> None:
    labels, mask = drawn()
    coarse = measure_coherence(labels, mask, 3, PIXEL_UM)
    fine = measure_coherence(np.repeat(np.repeat(labels, 2, 0), 2, 1), np.ones((40, 60), bool), 3, PIXEL_UM / 2)
    pooled = pool_coherence([coarse, fine], ["a", "b", "c"])
    assert pooled is not None
    assert pooled["unit"] == "mm2"
    assert pooled["mosaics"] == 2
    assert pooled["area"] == pytest.approx((599 + 600) * 0.0025)
    assert pooled["regions"] == 5 + 5
    assert pooled["regions_per_area"] == pytest.approx(10 / (1199 * 0.0025))
    assert pooled["small_regions_share"] == pytest.approx((3 + 2) / 10)
    assert pooled["small_area_share"] == pytest.approx((19 + 3 + 3) / 1199)
    middle = pooled["classes"][1]
    assert middle["name"] == "b"
    assert middle["regions"] == 4
    assert middle["small_area_share"] == pytest.approx(19 / (21 + 19 + 21 + 20))


def test_pooling_without_pixel_size_is_in_megapixels_and_never_mixed() -> None:
    labels, mask = drawn()
    unknown, known = measure_coherence(labels, mask, 3, None), measure_coherence(labels, mask, 3, PIXEL_UM)
    alone = pool_coherence([unknown], ["a", "b", "c"])
    assert alone is not None
    assert (alone["unit"], alone["small_below"]) == ("Mpx", SMALL_PX)
    assert alone["regions_per_area"] == pytest.approx(5 / 599e-6)
    assert pool_coherence([unknown, known], ["a", "b", "c"]) == pool_coherence([known], ["a", "b", "c"])
    assert pool_coherence([], ["a", "b", "c"]) is None


def test_nothing_assessed_is_none_rather_than_zero() -> None:
    nothing = measure_coherence(np.zeros((3, 3), np.uint8), np.zeros((3, 3), bool), 2, 1.0)
    pooled = pool_coherence([nothing], ["a", "b"])
    assert pooled is not None
    assert pooled["regions"] == 0
    assert pooled["regions_per_area"] is pooled["small_regions_share"] is pooled["small_area_share"] is None


def test_two_grids_are_refused() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        measure_coherence(np.zeros((3, 3), np.uint8), np.zeros((3, 4), bool), 2, None)
