import numpy as np
import pytest

from rcm_cascade.classes import RCM_CLASSES, UNLABELLED, ClassTable, LabelClass
from rcm_cascade.errors import InputError


def test_the_classes_are_the_papers_in_the_papers_order() -> None:
    assert RCM_CLASSES.names == ("non-lesion", "artifact", "meshwork", "ring", "nested", "patternless")


def test_palette_gives_every_class_another_colour_and_unlabelled_yellow() -> None:
    palette = RCM_CLASSES.palette()
    assert palette.shape == (256, 3)
    assert len({tuple(palette[i]) for i in [*range(6), UNLABELLED]}) == 7
    assert tuple(palette[UNLABELLED]) == (255, 225, 25)
    assert palette.dtype == np.uint8


def test_plain_form_round_trips() -> None:
    assert ClassTable.from_plain(RCM_CLASSES.to_plain()) == RCM_CLASSES


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "without gaps"),
        ([(0, "a", "#000000"), (2, "b", "#000000")], "without gaps"),
        ([(0, "a", "#000000"), (1, "a", "#000000")], "once only"),
        ([(0, "a", "red")], "#rrggbb"),
        ([(0, "a", "#00000g")], "#rrggbb"),
    ],
)
def test_wrong_tables_are_refused_in_a_sentence(rows: list[tuple[int, str, str]], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ClassTable(tuple(LabelClass(*row) for row in rows))
