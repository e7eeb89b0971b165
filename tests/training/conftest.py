"""W&B offline, its files in a folder of the test."""

from pathlib import Path

import pytest


@pytest.fixture
def wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keeps W&B from the network and from the user's own files; the folder of what it would put into those."""
    home = tmp_path / "wandb-home"
    for name, value in wandb_environment(home).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_MODE", "offline")
    return home


def wandb_environment(home: Path) -> dict[str, str]:
    """Variables that give W&B a home, and a user who is not logged in."""
    return {
        "WANDB_DATA_DIR": str(home / "data"),
        "WANDB_CACHE_DIR": str(home / "cache"),
        "WANDB_CONFIG_DIR": str(home / "config"),
        "NETRC": str(home / "netrc"),
        "WANDB_API_KEY": "",
    }
