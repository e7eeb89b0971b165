import numpy as np

from rcm_cascade.classes import ClassTable, LabelClass
from rcm_cascade.pictures.plot import confusion_picture


def test_confusion_is_dark_where_the_share_is_high_and_blank_where_it_is_undefined() -> None:
    classes = ClassTable(tuple(LabelClass(i, name, "#101010") for i, name in enumerate("abc")))
    matrix = np.array([[1_000_000, 0, 0], [30, 10, 0], [0, 0, 0]])
    picture = np.asarray(confusion_picture(matrix, classes)).astype(int)
    darkest, palest = np.array([8, 48, 107]), np.array([247, 251, 255])  # the ends of "Blues"
    dark = np.argwhere(np.abs(picture - darkest).max(axis=-1) < 3)
    pale = np.abs(picture - palest).max(axis=-1) < 3
    top, left = dark.min(axis=0)
    side = dark.max(axis=0)[0] - top + 1
    assert 40 < side < 130
    last_row = picture[top + 2 * side + 8 : top + 3 * side, left + 4 : left + 3 * side]
    assert pale[top + 2 * side + 8 : top + 3 * side, left + 4 : left + 3 * side].mean() > 0.9
    assert last_row.min() > 200  # no number in it
    assert picture[top + side + 8 : top + 2 * side, left + 4 : left + side].min() < 60  # .75, in letters
