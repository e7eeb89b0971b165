import subprocess
from pathlib import Path

import pytest

import rcm_cascade
from experiments.code_version import code_version


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody's repository, and this package at a place in it that git knows nothing of."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "mine.py").write_text("a = 1\n")
    git(tmp_path, "add", "mine.py")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b.example", "commit", "--quiet", "-m", "a")
    package = tmp_path / "site-packages" / "rcm_cascade" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.write_text("")
    monkeypatch.setattr(rcm_cascade, "__file__", str(package))
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_another_repositorys_commit_is_not_ours(repository: Path) -> None:
    assert code_version() == {"version": rcm_cascade.__version__}


def test_a_checkouts_commit_is_told_and_whether_it_was_changed(repository: Path) -> None:
    git(repository, "add", "site-packages")
    git(repository, "-c", "user.name=a", "-c", "user.email=a@b.example", "commit", "--quiet", "-m", "b")
    git(repository, "tag", "v9")
    commit = git(repository, "rev-parse", "HEAD")
    assert code_version() == {"version": rcm_cascade.__version__, "commit": commit}
    (repository / "mine.py").write_text("a = 2\n")
    assert code_version()["commit"] == f"{commit}-dirty"


def test_without_git_there_is_the_version(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert code_version() == {"version": rcm_cascade.__version__}
