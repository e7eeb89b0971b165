import logging
import warnings
from pathlib import Path

import pytest

from rcm_cascade.data.formats import read_image
from rcm_cascade.data.formats.base import MAX_PIXELS, check_size, in_one_sentence
from rcm_cascade.errors import InputError


def test_a_decoder_is_quiet_and_fails_in_one_sentence(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    def decode() -> None:
        with in_one_sentence(Path("x.tif")):
            logging.getLogger("tifffile").error("invalid offset")
            warnings.warn("odd tag", stacklevel=1)
            raise KeyError("StripOffsets")

    with pytest.raises(InputError, match=r"x\.tif cannot be decoded \(KeyError\)") as caught:
        decode()
    assert "\n" not in str(caught.value)
    assert caplog.text == ""
    assert len(recwarn) == 0
    logging.getLogger("tifffile").error("heard again")
    assert "heard again" in caplog.text


def test_our_own_errors_pass() -> None:
    with pytest.raises(InputError, match=r"^mine$"), in_one_sentence(Path("x.tif")):
        raise InputError("mine")


def test_no_file_to_read(tmp_path: Path) -> None:
    (tmp_path / "empty.tif").touch()
    for path, message in [
        (tmp_path / "none.tif", "No such file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "empty.tif", "is no image"),
        (tmp_path / "empty.tif" / "none.tif", "cannot be opened"),
        (tmp_path / ("x" * 300), "cannot be opened"),
    ]:
        with pytest.raises(InputError, match=message):
            read_image(path)


def test_sizes() -> None:
    check_size(Path("x.png"), 13000, 13000)
    check_size(Path("x.png"), 1, MAX_PIXELS)
    with pytest.raises(InputError, match=r"x\.png is 1 × 1073741825 px \(height × width\), 1074 MP"):
        check_size(Path("x.png"), 1, MAX_PIXELS + 1)
    with pytest.raises(InputError, match="0 × 5 px"):
        check_size(Path("x.png"), 0, 5)
