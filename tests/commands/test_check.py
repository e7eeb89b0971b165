from pathlib import Path

import pytest

from rcm_cascade.cli import main
from tests.data.test_check import clean, cut, put, tissue

__all__ = ["clean"]  # the fixture


def test_a_clean_data_set_may_be_trained_on(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(clean), "--strict"]) == 0
    assert capsys.readouterr().out == f"{clean}: 6 mosaics, 0 errors, 0 warnings: it may be trained on\n"


def test_warnings_count_if_they_are_to(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(copy, "mosaics/m1.png", 255 - tissue(1))

    assert main(["check", str(copy)]) == 0
    assert main(["check", str(copy), "--strict"]) == 1
    assert "contrast upside down" in capsys.readouterr().out


def test_errors_are_status_2_and_the_page_shows_them(copy: Path, tmp_path: Path) -> None:
    cut(copy / "mosaics/m1.png", 100)
    page = tmp_path / "check.html"

    assert main(["check", str(copy), "--page", str(page)]) == 2

    text = page.read_text("utf-8")
    assert "unreadable mosaic" in text
    assert text.count("<img ") == 5 + 5
    assert "http" not in text.replace("http://www.w3.org", "")


@pytest.fixture
def copy(clean: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(clean, tmp_path / "set"))
