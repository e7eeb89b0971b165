import sys

import pytest

from rcm_cascade.progress import progress_bar


@pytest.mark.parametrize(
    ("total", "unit", "found"), [(2, "mosaics", "opening: 2 mosaics in"), (2.5, "MP", "opening: 2.5 MP in")]
)
def test_one_line_at_the_end(total: float, unit: str, found: str, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("opening", total, unit) as advance:
        advance(total / 2)
        advance(total / 2)
    assert capsys.readouterr().err.startswith(found)


def test_nothing_to_do_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("opening", 0, "mosaics"):
        pass
    assert not capsys.readouterr().err


@pytest.mark.parametrize("name", ["[red]x[/].tif", r"m\xff[/b].tif", "Größe µ².tif"])
def test_a_name_is_shown_as_it_is(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress_bar(name, 2, "mosaics") as advance:
        advance(2)
    assert capsys.readouterr().err.count(name) >= 2  # in the bar and in the line
