import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tifffile

from rcm_cascade.annotate.cohort import annotate_files
from rcm_cascade.annotate.table import TABLE, refuse_other_table
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.errors import InputError
from tests.annotate.telling import noise


def mosaics(folder: Path, count: int, side: int = 60) -> list[Path]:
    folder.mkdir()
    files = [folder / f"m{number}.tif" for number in range(count)]
    for number, file in enumerate(files):
        picture = noise(side, side + number, seed=number)
        tifffile.imwrite(file, picture, resolution=(1250, 1250), resolutionunit="CENTIMETER")
    return files


def rows(out: Path) -> list[dict[str, str]]:
    with (out / TABLE).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def start(images: Path, out: Path, number: int, processes: int) -> "subprocess.Popen[str]":
    environment = os.environ | {"RANK": str(number), "WORLD_SIZE": str(processes), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "rcm_cascade", "annotate", str(images), "--out", str(out), "--backend", "torch"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_share_a_folder_one_dies_and_a_second_call_completes(tmp_path: Path) -> None:
    files = mosaics(tmp_path / "in", 8, side=400)
    (tmp_path / "in" / "broken.tif").write_bytes(b"II*\0 nothing")
    out = tmp_path / "out"
    processes = [start(tmp_path / "in", out, number, 2) for number in range(2)]
    deadline = time.monotonic() + 300
    while not list(out.glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    processes[1].send_signal(signal.SIGKILL)
    printed = [process.communicate(timeout=300) for process in processes]
    assert processes[1].returncode == -signal.SIGKILL
    done = rows(out)
    assert 4 <= len(done) < 8, "the first has done its own share, and not the other's"
    assert sum("broken.tif" in error for _, error in printed) >= processes[0].returncode
    again = start(tmp_path / "in", out, 0, 1)
    _, error = again.communicate(timeout=300)
    assert again.returncode == 1
    assert f"{len(done)} finished earlier" in error
    assert [row["mosaic"] for row in rows(out)] == [file.name for file in files]
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_row_a_mosaic_whatever_call_did_it(tmp_path: Path) -> None:
    files = mosaics(tmp_path / "in", 3)
    out = tmp_path / "out"
    assert annotate_files(files[:1], [], out) == 0
    assert not (out / TABLE).exists(), "one mosaic has its JSON"
    assert annotate_files(files[1:], [], out) == 0
    found = rows(out)
    assert [row["mosaic"] for row in found] == ["m0.tif", "m1.tif", "m2.tif"]
    for row in found:
        assert float(row["pixel_size_um"]) == 8
        shares = [float(value) for name, value in row.items() if name.removesuffix(" share") in RCM_CLASSES.names]
        areas = [float(value) for name, value in row.items() if name.removesuffix(" mm2") in RCM_CLASSES.names]
        assert sum(shares) == pytest.approx(1)
        assert sum(areas) == pytest.approx(float(row["megapixels"]) * 64)
        assert row["synthetic"] == "True"
        assert row["uninformative share"] == row["artifact share"]
        assert float(row["lesion mm2"]) <= sum(areas)
        assert row["reimage"] in ("True", "False")


def test_a_users_table_is_not_replaced(tmp_path: Path) -> None:
    files = mosaics(tmp_path / "in", 2)
    out = tmp_path / "out"
    out.mkdir()
    (out / TABLE).write_text("my,own\n1,2\n")
    with pytest.raises(
        InputError, match=r"summary\.csv is not a file of annotate's and would be replaced; .*--replace"
    ):
        annotate_files(files, [], out)
    assert (out / TABLE).read_text() == "my,own\n1,2\n"
    assert annotate_files(files, [], out, replace=True) == 0
    assert len(rows(out)) == 2
    refuse_other_table(out)
