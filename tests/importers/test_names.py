from pathlib import Path

import pytest

from rcm_cascade.classes import RCM_CLASSES, ClassTable, LabelClass
from rcm_cascade.errors import InputError
from rcm_cascade.importers.names import read_meanings


@pytest.mark.parametrize(
    ("word", "id_"),
    [
        *[(name, id_) for id_, name in enumerate(RCM_CLASSES.names)],
        ("Non-Lesion", 0), ("no_lesion", 0), ("background", 0), ("uninformative", 1), ("Artefacts", 1), ("mesh", 2),
        ("Rings", 3), ("clod", 4), ("CLODS", 4), ("nest", 4), ("aspecific", 5), ("non-specific", 5), ("ignore", 255),
        ("tumour", None), ("", None), ("ring2", None),
    ],
)  # fmt: skip
def test_the_field_s_words_are_known_and_others_are_not_guessed(word: str, id_: int | None) -> None:
    assert read_meanings(RCM_CLASSES).of(word) == id_


def test_classes_of_other_data_are_known_by_their_own_names() -> None:
    table = ClassTable((LabelClass(0, "axon", "#000000"), LabelClass(1, "ring", "#ffffff")))

    meanings = read_meanings(table)

    assert (meanings.of("Axons"), meanings.of("ringed"), meanings.of("nest")) == (0, 1, None)


def test_a_lab_adds_its_own(tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_text(
        "names: {nested: [Nester]}\nids: {7: unlabelled, 1: ring}\ncolours: {'#ff0000': mesh work}\n", "utf-8"
    )

    meanings = read_meanings(RCM_CLASSES, path)

    assert (meanings.of("nester"), meanings.of("ring")) == (4, 3)
    assert meanings.ids == {7: 255, 1: 3}
    assert meanings.colours == {(255, 0, 0): 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("names: {tumour: [t]}", "names the class 'tumour'"),
        ("names: {ring: [clod]}", "'clod' to two classes"),
        ("colours: {red: ring}", "has the colour 'red'"),
        ("colors: {}", "expected the keys names"),
        ("ids: {a: ring}", "ids"),
    ],
)
def test_a_table_that_is_wrong_is_one_sentence(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_text(text, "utf-8")

    with pytest.raises(InputError, match=words):
        read_meanings(RCM_CLASSES, path)
