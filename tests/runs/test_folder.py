import multiprocessing
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from rcm_cascade.errors import InputError
from rcm_cascade.files import write_json
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.folder import RunFolder, claim, state_of


def test_a_folder_goes_from_new_to_interrupted_to_finished(tmp_path: Path) -> None:
    folder, config = RunFolder(tmp_path / "run"), compose_config([])
    with claim(folder, config) as state:
        assert state == "new"
    with claim(folder, config) as state:
        assert state == "new"
    folder.last.parent.mkdir()
    folder.last.write_bytes(b"x")
    with claim(folder, compose_config(["data.num_workers=2"])) as state:
        assert state == "interrupted"
    write_json(folder.result, {"a": 1})
    with claim(folder, config) as state:
        assert state == "finished"
    assert folder.read_result() == {"a": 1}


def test_another_configuration_is_refused_with_the_difference(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with claim(folder, compose_config([])):
        pass
    write_json(folder.result, {})
    before = folder.config.read_text()
    with (
        pytest.raises(InputError, match=r"model\.levels: 3 → 2; seed: 0 → 5"),
        claim(folder, compose_config(["model.levels=2", "seed=5"])),
    ):
        pass
    assert folder.config.read_text() == before


def test_results_without_a_configuration_are_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_json(folder.result, {})
    with pytest.raises(InputError, match=r"no config\.yaml"), claim(folder, compose_config([])):
        pass


def _hold(path: Path, held: Event, done: Event) -> None:
    with claim(RunFolder(path), compose_config([])):
        held.set()
        done.wait(60)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(InputError, match=r"run folder .*a is a file; move it away"):
        state_of(RunFolder(tmp_path / "a"), compose_config([]))


def test_a_second_process_on_a_live_folder_is_refused(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path, held, done))
    process.start()
    try:
        assert held.wait(60)
        with (
            pytest.raises(InputError, match="in use by another process"),
            claim(RunFolder(tmp_path), compose_config([])),
        ):
            pass
    finally:
        process.kill()
        process.join()
    with claim(RunFolder(tmp_path), compose_config([])) as state:  # a killed process holds nothing
        assert state == "new"
