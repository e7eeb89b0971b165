"""The pages of a folder, those first that need looking at first."""

from pathlib import Path

import numpy as np
import pytest

from rcm_cascade.errors import InputError
from rcm_cascade.review.index import pages_of, write_index
from tests.review.pages import write


def test_the_largest_region_comes_first(tmp_path: Path) -> None:
    for name, width in (("small", 40), ("large", 200), ("none", 0)):
        labels = np.zeros((300, 400), np.uint8)
        labels[50:250, :width] = 4
        write(tmp_path, f"{name}.tif", height=300, width=400, labels=labels)
    assert [page["stem"] for page in pages_of(tmp_path)] == ["large", "small", "none"]
    path = write_index(tmp_path)
    assert path is not None
    text = path.read_text()
    assert text.index("large.page") < text.index("small.page") < text.index("none.page")
    assert "no region to look at first" in text
    assert write_index(tmp_path) == path


def test_without_pages_there_is_no_index_and_that_of_others_stays(tmp_path: Path) -> None:
    assert write_index(tmp_path) is None
    write(tmp_path, height=300, width=400)
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(InputError, match="is not a file of annotate's"):
        write_index(tmp_path)
    assert (tmp_path / "index.html").read_text() == "mine"


def test_names_are_escaped(tmp_path: Path) -> None:
    write(tmp_path, "<script>alert(1)<a>.tif", height=300, width=400)
    path = write_index(tmp_path)
    assert path is not None
    assert "<script>alert" not in path.read_text()
    assert "%3Cscript%3Ealert" in path.read_text()
