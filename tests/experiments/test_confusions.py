import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from experiments.phantom import confusions
from experiments.phantom.confusions import CROP_PX, Compared, Confusion, Place, draw_confusions, most_common
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.data.windows import read_square
from rcm_cascade.pictures.figure import Panel
from tests.conftest import THREE

WHITE = (255, 255, 255)


def compared(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], pixel_size_um: float | None = 8.0) -> Compared:
    image = np.random.default_rng(0).integers(0, 200, truth.shape).astype(np.uint8)
    return Compared("m", image, truth, prediction, pixel_size_um)


def two_mosaics() -> list[Compared]:
    """Of class 1, 200 px: 45 px taken for 2 (9 + 1 in the first mosaic, 35 in the second) and 6 px for 0."""
    first = np.ones((10, 10), np.uint8), np.ones((10, 10), np.uint8)
    first[1][2:5, 6:9] = 2  # its middle is (3, 7)
    first[1][9, 0] = 2
    first[1][7, 0:6] = 0
    second = np.ones((12, 10), np.uint8), np.ones((12, 10), np.uint8)
    second[0][10:] = 255
    second[1][10:] = 0  # nothing is painted there, so it is no confusion
    second[1][5:10, 3:10] = 2
    return [compared(*first), compared(*second)]


def test_pairs_are_ranked_by_pixels_with_their_share_of_the_true_class() -> None:
    found = most_common(two_mosaics(), THREE)
    assert [(c.truth, c.taken_for, c.pixels, c.share) for c in found] == [(1, 2, 45, 45 / 200), (1, 0, 6, 6 / 200)]
    assert [c.taken_for for c in most_common(two_mosaics(), THREE, count=1)] == [2]


def test_places_are_the_middle_of_each_mosaics_largest_region_largest_first() -> None:
    first, second = most_common(two_mosaics(), THREE)
    assert first.places == (Place(1, 7, 5, 35), Place(0, 3, 7, 9))
    assert [(p.mosaic, p.row, p.pixels) for p in second.places] == [(0, 7, 6)]
    assert most_common(two_mosaics(), THREE, places=1)[0].places == (Place(1, 7, 5, 35),)


def test_the_place_of_a_crescent_lies_inside_it() -> None:
    truth = np.zeros((40, 40), np.uint8)
    y, x = np.ogrid[:40, :40]
    away = np.hypot(y - 20, x - 20)
    ring = ((away < 15) & (away > 8) & (x < 24)).astype(np.uint8)
    (confusion,) = most_common([compared(truth, ring)], THREE)
    (place,) = confusion.places
    assert ring[place.row - 2 : place.row + 3, place.column - 2 : place.column + 3].all()
    rows, columns = np.nonzero(ring)
    assert not ring[round(rows.mean()), round(columns.mean())]  # the centroid would not do


def test_a_perfect_prediction_has_no_confusion_and_nothing_to_draw() -> None:
    truth = np.random.default_rng(0).integers(0, 3, (8, 9)).astype(np.uint8)
    assert most_common([compared(truth, truth)], THREE) == []
    with pytest.raises(ValueError, match="no confusion"):
        draw_confusions([], [], THREE)


def test_an_image_on_another_grid_is_refused() -> None:
    labels = np.zeros((8, 9), np.uint8)
    with pytest.raises(ValueError, match=r"m: the image is \(7, 9\)"):
        most_common([Compared("m", labels[:7], labels, labels, None)], THREE)


def test_words() -> None:
    assert (
        Confusion(2, 3, 12, 0.1234, ()).describe(RCM_CLASSES) == "meshwork taken for ring: 12 % of the meshwork pixels"
    )
    assert "less than 1 % of" in Confusion(2, 3, 12, 0.004, ()).describe(RCM_CLASSES)


def crops(picture: Image.Image, places: int) -> list[list[NDArray[np.uint8]]]:
    """The three crops of each place of a figure of one confusion, found by the frame round them."""
    pixels = np.asarray(picture)
    framed = (pixels == (154, 154, 154)).all(axis=-1)
    top = int(np.flatnonzero(framed.sum(axis=1) > 3 * CROP_PX)[0]) + 1
    left = int(np.flatnonzero(framed[top - 1])[0]) + 1
    step = CROP_PX + confusions.NARROW_GAP
    wide = 2 * step + CROP_PX + confusions.WIDE_GAP
    starts = [[left + p * wide + k * step for k in range(3)] for p in range(places)]
    return [[pixels[top : top + CROP_PX, x : x + CROP_PX] for x in place] for place in starts]


def test_a_place_is_drawn_as_image_painted_labels_and_prediction() -> None:
    truth, prediction = np.zeros((300, 400), np.uint8), np.zeros((300, 400), np.uint8)
    truth[:, 200:] = 1
    truth[:100, 200:] = 255
    prediction[:, 200:] = 1
    prediction[150:250, 250:350] = 2
    mosaic = compared(truth, prediction, pixel_size_um=5.0)
    (confusion,) = most_common([mosaic], THREE)
    picture = draw_confusions([confusion], [mosaic], THREE, side_um=1000)  # 200 px, drawn as they are
    ((image, painted, predicted),) = crops(picture, 1)
    top, left = 199 - 100, 299 - 100  # the innermost point is the first of the four in the middle
    np.testing.assert_array_equal(image[..., 0], mosaic.image[top : top + 200, left : left + 200])
    inside, aside = (100, 100), (20, 20)
    assert painted[inside][0] > painted[inside][1] == painted[inside][2]  # "b" is red
    assert predicted[inside][1] > predicted[inside][0] == predicted[inside][2]  # "c" is green
    np.testing.assert_array_equal(painted[aside], predicted[aside])
    np.testing.assert_array_equal(painted[0, 150], image[0, 150])  # unlabelled stays grey
    assert predicted[0, 150][0] > image[0, 150][0] * 0.6 + 80
    for overlay in (painted, predicted):
        assert tuple(overlay[51, 100]) == WHITE  # row 150 of the mosaic, where the confused square begins
        assert (overlay == 255).all(axis=-1).sum() == 4 * 99


def test_every_crop_is_equally_wide_in_um_and_stays_inside_its_mosaic(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def recording(array: NDArray[np.uint8], top: int, left: int, side: int, fill: int | None) -> NDArray[np.uint8]:
        read.append((top, left, side))
        return read_square(array, top, left, side, fill)

    monkeypatch.setattr(confusions, "read_square", recording)
    mosaics = []
    for side, pixel_size_um in ((300, 10.0), (600, 2.5)):
        truth, prediction = np.zeros((side, side), np.uint8), np.zeros((side, side), np.uint8)
        prediction[-9:, -9:] = 1
        mosaics.append(compared(truth, prediction, pixel_size_um))
    picture = draw_confusions(most_common(mosaics, THREE), mosaics, THREE, side_um=500)
    assert set(read) == {(250, 250, 50), (400, 400, 200)}
    assert all(c.shape == (CROP_PX, CROP_PX, 3) for place in crops(picture, 2) for c in place)


def test_enlarged_labels_keep_their_classes_and_end_with_the_mosaic() -> None:
    truth, prediction = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint8)
    prediction[10:20, 10:20] = 2
    mosaic = compared(truth, prediction, 10.0)
    ((image, painted, predicted),) = crops(draw_confusions(most_common([mosaic], THREE), [mosaic], THREE), 1)
    assert (predicted[..., 1] > predicted[..., 0]).any()
    assert not (predicted[..., 0] > predicted[..., 1]).any()  # "b", between "a" and "c", is red
    np.testing.assert_array_equal(painted[80:], image[80:])  # 40 of 100 px
    np.testing.assert_array_equal(predicted[80:], image[80:])
    assert (painted[:80, :120] < image[:80, :120]).mean() > 0.9


def test_the_scale_bar_is_in_um_only_where_every_pixel_size_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(confusions, "compose", lambda *_, **k: told.append((k["pixel_size_um"], k["caption"])))
    mosaics = two_mosaics()
    found = most_common(mosaics, THREE)
    draw_confusions(found, mosaics, THREE, side_um=500, note="Phantoms.")
    mosaics[0] = compared(mosaics[0].truth, mosaics[0].prediction, None)
    draw_confusions(found, mosaics, THREE, side_um=500)
    assert [size for size, _ in told] == [2.5, None]
    assert "0.5 mm wide" in told[0][1]
    assert told[0][1].endswith("Phantoms.")
    assert "200 px wide" in told[1][1]


def test_a_confusion_with_fewer_places_leaves_room_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    panels: list[Panel] = []
    monkeypatch.setattr(confusions, "compose", lambda given, *_, **__: panels.extend(given))
    mosaics = two_mosaics()
    draw_confusions(most_common(mosaics, THREE), mosaics, THREE)
    two, one = (panel.rgb for panel in panels)
    assert two.shape == one.shape == (CROP_PX, 6 * CROP_PX + 4 * confusions.NARROW_GAP + confusions.WIDE_GAP, 3)
    half = one.shape[1] // 2
    assert (one[:, half:] == 255).all()
    assert (one[:, : half - confusions.WIDE_GAP] < 255).any(axis=(0, 2)).mean() > 0.95
    assert (two[:, half + confusions.WIDE_GAP :] < 255).any(axis=(0, 2)).mean() > 0.95
