import subprocess
import sys
from pathlib import Path

import pytest

from rcm_cascade import __version__
from rcm_cascade.cli import main, make_parser

COMMANDS = ("demo", "phantom", "batch", "train", "evaluate", "annotate", "benchmark")


def test_every_command_has_a_help_that_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)
    for command in COMMANDS:
        if command == "train":
            assert main([command, "--help"]) == 0
        else:
            with pytest.raises(SystemExit):
                main([command, "--help"])
        assert len(capsys.readouterr().out) > 250


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == f"rcm-cascade {__version__}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "model.levls=2"], "model.levls: no such key"),
        (["train", "model.prior=x"], "model.prior"),
        (["train", "data=folder"], "data.root=FOLDER"),
        (["train", "data=folder", "data.root=nowhere"], "nowhere"),
        (["train", "seed=0,1"], "seed"),
        (["train", "-m", "seed=0,1", "trainer.devices=2"], "trainer.devices=1"),
        (["train", "run=../up"], "runs/"),
        (["evaluate", "no.ckpt", "--data", "nowhere"], "no.ckpt does not exist"),
        (["annotate", "a.tif", "--checkpoint", "no.ckpt", "--out", "o"], "no.ckpt does not exist"),
        (["annotate", "a.tif", "--checkpoint", "no.ckpt", "--out", "o", "--memory", "much"], "such as '2 GB'"),
        (["annotate", ".", "--checkpoint", "no.ckpt", "--out", "o"], "holds no mosaic"),
        (["annotate", "a.tif", "--out", "o", "--precision", "int8"], "leave int8 away"),
        (
            ["annotate", "a.tif", "--checkpoint", "no.ckpt", "--out", "o", "--precision", "int8"],
            "no.ckpt does not exist",
        ),
        (["benchmark", "annotate", "--checkpoint", "no.ckpt", "--no-series"], "no.ckpt does not exist"),
        (["benchmark", "annotate", "--checkpoint", "no.ckpt", "--rounds", "0"], "1 round or more"),
        (["benchmark", "train", "--rounds", "0"], "expected 1 round or more"),
        (["benchmark", "train", "model.levls=2"], "model.levls: no such key"),
        (["batch", "--out", "."], ". is a folder"),
        (["phantom", "p", "--mosaics", "0"], "mosaics"),
        (["phantom", "p", "--pixel-size", "-1"], "pixel"),
        (["demo", "--minutes", "0"], "minutes"),
        (["batch", "model.levls=2"], "model.levls: no such key"),
        (["train", "optimm.lr=1"], "optimm: no such key"),
        (["train", "loss.level_weights=[1,2]"], "expected 3 weights"),
        (["train", "model.depth_increment=-2"], "depth of 1 or more"),
        (["train", "optim.lr=.nan"], "optim"),
        (["train", "seed=5000000000"], "seed"),
        (["train", "trainer.accelerator=gpu", "+debug=fast"], "PyTorch sees no GPU"),
    ],
)
def test_bad_input_is_one_sentence_status_2_and_nothing_left_behind(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    left = [p.name for p in tmp_path.rglob("*") if p.is_file()]
    assert set(left) <= {".lock", "config.yaml"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "+debug=fast"],
        ["train", "run=a/b", "+debug=fast"],
        ["train", "-m", "seed=0,1"],
        ["phantom", "runs/p", "--mosaics", "1", "--size-mm", "1", "1"],
        ["batch", "--out", "runs/pictures/batch.png"],
        ["benchmark", "annotate", "--checkpoint", "no.ckpt", "--out", "runs/b"],
        ["benchmark", "train", "--out", "runs/b"],
    ],
    ids=lambda a: a[0],
)
def test_a_folder_that_cannot_be_made_is_one_sentence(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("a file")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "runs" in error
    assert "choose another" in error
    assert error.count("\n") == 1
    assert (tmp_path / "runs").read_text() == "a file"


def test_hydras_own_flags_reach_hydra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--cfg", "job", "model.levels=2"]) == 0
    assert "levels: 2" in capsys.readouterr().out


def test_the_parser_names_every_command_but_train_takes_hydras() -> None:
    assert make_parser().parse_args(["phantom", "out"]).pixel_size == 8


def test_options_of_annotate_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from rcm_cascade.annotate.backends import AnnotationOptions

    called: list[tuple[object, ...]] = []

    def annotate(*given: object) -> int:
        called.append(given)
        return len(called) - 1

    monkeypatch.setattr("rcm_cascade.commands.annotate.annotate", annotate)
    plain = ["annotate", "a.tif", "b", "--checkpoint", "c.ckpt", "--out", "o"]
    more = ["--pixel-size", "0.5", "--tile", "64", "--memory", "500 MB", "--precision", "int8", "--backend", "openvino"]

    assert main(plain) == 0
    assert main(["annotate", "a.tif", "b", "--out", "o"]) == 1
    assert called.pop() == ([Path("a.tif"), Path("b")], None, Path("o"), AnnotationOptions(), None, None, False)
    assert main([*plain, *more, "--calibrate", "data", "--accept-loss"]) == 1

    files = [Path("a.tif"), Path("b")], Path("c.ckpt"), Path("o")
    assert called[0] == (*files, AnnotationOptions(), None, None, False)
    assert called[1] == (*files, AnnotationOptions(64, 500_000_000, "int8", "openvino"), 0.5, Path("data"), True)


def test_options_of_benchmark_reach_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    called: list[tuple[object, ...]] = []

    def benchmark(*given: object, **named: object) -> str:
        called.append((*given, named))
        return "the table\n"

    monkeypatch.setattr("rcm_cascade.commands.benchmark.benchmark_annotation", benchmark)
    more = ["--out", "o", "--image", "a.tif", "--size", "256", "320", "--rounds", "1", "--backend", "torch"]

    assert main(["benchmark", "annotate", "--checkpoint", "c.ckpt", *more, "--no-series"]) == 0

    assert capsys.readouterr().out == "the table\n"
    named = {"image": Path("a.tif"), "shape": (256, 320), "rounds": 1, "backend": "torch", "series": False}
    assert called == [(Path("c.ckpt"), Path("o"), named)]


def test_options_of_benchmark_train_reach_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[tuple[object, ...]] = []

    def benchmark(*given: object) -> str:
        called.append(given)
        return "the table\n"

    monkeypatch.setattr("rcm_cascade.commands.benchmark_train.benchmark_training", benchmark)

    assert main(["benchmark", "train", "scale=paper", "--out", "o", "--rounds", "2", "seed=1", "--steps", "5"]) == 0
    assert main(["benchmark", "train", "--no-compile"]) == 0

    assert capsys.readouterr().out == "the table\n" * 2
    assert called == [(["scale=paper", "seed=1"], Path("o"), 2, 5, True), ([], Path("benchmark"), 7, 20, False)]


def test_the_installed_console_script_runs() -> None:
    script = Path(sys.executable).parent / "rcm-cascade"
    done = subprocess.run([script, "train", "seed=-1"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "seed: got -1" in done.stderr
    assert "Traceback" not in done.stderr
