"""What every refused file has in common."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rcm_cascade.errors import InputError


def assert_refused(path: Path, write: Callable[[Path], object], read: Callable[[Path], object], message: str) -> None:
    """The file that is written is refused in one sentence, which names it."""
    write(path)
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
