import pytest

from rcm_cascade.data import processors


@pytest.mark.parametrize(
    ("usable", "given", "by_slurm", "expected"),
    [
        (16, None, False, 4),  # Lightning's processes share the machine
        (16, "16", False, 4),  # one task of Slurm's, in which Lightning started them
        (8, "8", True, 8),  # bound to its own: not divided once more
        (32, "8", True, 8),  # not bound
        (4, "8", True, 4),
        (16, None, True, 4),  # Slurm was not asked for any
        (2, None, False, 1),
    ],
)
def test_a_process_knows_its_own(
    usable: int, given: str | None, by_slurm: bool, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "processors", lambda: usable)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    if given:
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", given)
    assert processors.own_processors(4, by_slurm) == expected


def test_there_are_some() -> None:
    assert processors.processors() >= 1
