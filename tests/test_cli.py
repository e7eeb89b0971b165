import io
import subprocess
import sys
from pathlib import Path

import pytest

from rcm_cascade import __version__
from rcm_cascade.cli import main

COMMANDS = ("demo", "phantom", "batch", "train", "evaluate", "annotate", "report")


def test_every_command_has_a_help_that_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)
    for command in COMMANDS:
        assert main([command, "--help"]) == 0
        told = capsys.readouterr().out
        assert len(told) > 250
        assert max(map(len, told.splitlines())) <= 80


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
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
        (["batch", "--out", "."], ". is a folder"),
        (["phantom", "p", "--mosaics", "0"], "mosaics"),
        (["phantom", "p", "--pixel-size", "-1"], "pixel"),
        (["demo", "--steps", "0"], "--steps is 0"),
        (["batch", "model.levls=2"], "model.levls: no such key"),
        (["batch", "data=folder", "--out", "b.png", "data.root=nowhere"], "nowhere"),
        (["evaluate"], "Missing option '--data'; see `rcm-cascade evaluate --help`"),
        (["evaluate", "c", "--data", "d", "--split", "dev"], "'train', 'val', 'test'"),
        (["annotate", "a.tif"], "Missing option '--out'; see `rcm-cascade annotate --help`"),
        (["annotate", "a.tif", "--out", "o", "--tile", "wide"], "Invalid value for '--tile'"),
        (["phantom", "p", "--mosaic", "3"], "No such option: --mosaic"),
        (["phantom", "p", "--size-mm", "3"], "'--size-mm'"),
        (["anotate"], "No such command 'anotate'"),
        ([], "Missing command"),
        (["train", "optimm.lr=1"], "optimm: no such key"),
        (["train", "loss.level_weights=[1,2]"], "expected 3 weights"),
        (["train", "model.depth_increment=-2"], "depth of 1 or more"),
        (["train", "optim.lr=.nan"], "optim"),
        (["train", "optim.lr=ö"], "cannot be read as KEY=VALUE"),
        (["train", "--cfg", "job", "optim.lr=ö"], "cannot be read as KEY=VALUE"),
        (["train", "--cfg", "job", "model.levls=2"], "model.levls: no such key"),
        (["train", "data=folder", "data.root=x/a=~/b #(c), Größe"], "data set x/a=~/b #(c), Größe is no folder"),
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


@pytest.mark.parametrize("flag", ["--multirun", "-m"])
def test_the_configuration_of_a_sweep_is_refused_in_a_sentence(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert main(["train", flag, "seed=0,1", "--cfg", "job"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: Hydra shows")
    assert said.count("\n") == 1


def test_options_of_annotate_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from rcm_cascade.annotate.backends import AnnotationOptions
    from rcm_cascade.annotate.wanted import PLAIN, Outlines, Wanted
    from rcm_cascade.review import page

    called: list[tuple[object, ...]] = []

    def annotate(*given: object) -> int:
        called.append(given)
        return len(called) - 1

    quantised: list[tuple[object, ...]] = []
    monkeypatch.setattr("rcm_cascade.annotate.cohort.annotate_files", annotate)
    monkeypatch.setattr("rcm_cascade.runs.score.quantise_checkpoint", lambda *given: quantised.append(given))
    plain = ["annotate", "a.tif", "b", "--checkpoint", "c.ckpt", "--out", "o"]
    more = ["--pixel-size", "0.5", "--tile", "64", "--memory", "500 MB", "--precision", "int8", "--backend", "openvino"]

    assert main(plain) == 0
    assert main(["annotate", "a.tif", "b", "--out", "o"]) == 1
    files, out = [Path("a.tif"), Path("b")], Path("o")
    assert called.pop() == (files, [], out, AnnotationOptions(), None, False, Wanted(), None)
    assert not quantised
    assert main([*plain, *more, "--calibrate", "data", "--accept-loss", "--replace"]) == 1

    first, second = called
    assert first == (files, [Path("c.ckpt")], out, AnnotationOptions(), None, False, Wanted(), None)
    int8 = AnnotationOptions(64, 500_000_000, "int8", "openvino")
    assert second == (files, [Path("c.ckpt")], out, int8, 0.5, True, Wanted(), None)
    assert quantised == [(Path("c.ckpt"), Path("data"), True)]
    more = ["--geojson", "--simplify", "2", "--min-area", ".1", "--label-next", "3", "--reimage-above", ".1", "--page"]
    assert main([*plain, "--checkpoint", "d.ckpt", *more, "--lesion-mask", "m.png"]) == 1
    everything = Wanted(geojson=Outlines(2.0, 0.1), label_next=3, lesion_mask=Path("m.png"), reimage_above=0.1)
    assert called[2] == (
        files,
        [Path("c.ckpt"), Path("d.ckpt")],
        out,
        AnnotationOptions(),
        None,
        False,
        everything,
        page,
    )
    assert main([*plain, "--plain"]) == 1
    assert called[3][6] == PLAIN
    assert main([*plain, "--simplify", "2"]) == 2


@pytest.mark.parametrize("command", [["train", "seed=-1"], ["phantom", "p", "--mosaics", "0"], ["anotate"]], ids=str)
def test_the_module_and_the_console_script_end_with_the_same_status(command: list[str], tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "rcm-cascade"
    for start in ([str(script)], [sys.executable, "-m", "rcm_cascade"]):
        done = subprocess.run([*start, *command], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "Größe µ².ckpt", "--data", "d"], r"Gr\xf6\xdfe \xb5\xb2.ckpt does not exist"),
        (["evaluate", "m\udcff.ckpt", "--data", "d"], r"m\udcff.ckpt does not exist"),
        (["annotate", "症例.tif", "--out", "o", "--checkpoint", "症.ckpt"], r"\u75c7.ckpt does not exist"),
    ],
    ids=ascii,
)
def test_a_terminal_without_the_sign_is_told_its_code(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stderr = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(stderr, encoding="ascii", errors="strict", write_through=True))
    assert main(arguments) == 2
    assert words.encode() in stderr.getvalue()


def test_help_and_mistakes_are_answered_before_torch_is_imported() -> None:
    code = "import sys; from rcm_cascade.cli import main; main(['--help']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)


@pytest.mark.parametrize("value", ["--out=~/b.png", "--out", "data.root=~/mosaics"])
def test_a_tilde_is_the_home_folder(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[list[str], Path]] = []
    monkeypatch.setenv("HOME", "/home/reader")
    monkeypatch.setattr("rcm_cascade.runs.compose.compose_config", lambda overrides: overrides)
    monkeypatch.setattr("rcm_cascade.runs.train.draw_batch", lambda *given: called.append(given))
    monkeypatch.setattr("rcm_cascade.commands.batch.refuse_unwritable", lambda folder: None)

    assert main(["batch", value, *(["~/b.png"] if value == "--out" else [])]) == 0

    home = Path("/home/reader")
    assert called == [([f"data.root={home}/mosaics"], Path("batch.png")) if "=~/m" in value else ([], home / "b.png")]


def test_overrides_stand_anywhere_in_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[list[str], Path]] = []
    monkeypatch.setattr("rcm_cascade.runs.compose.compose_config", lambda overrides: overrides)
    monkeypatch.setattr("rcm_cascade.runs.train.draw_batch", lambda *given: called.append(given))

    assert main(["batch", "data=folder", "--out", "b.png", "data.root=x", "seed=1"]) == 0

    assert called == [(["data=folder", "data.root=x", "seed=1"], Path("b.png"))]


def test_hydras_arguments_reach_it_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr("rcm_cascade.runs.launch.launch", lambda overrides, *_: called.append(overrides))
    given = ["seed=0,1", "-m", "+sweep=levels", "--cfg", "job", "~data.root", "data=folder", "--multirun", "run=x"]

    assert main(["train", *given]) == 0

    assert called == [given]


def test_an_interrupt_is_told_and_has_its_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rcm_cascade.runs.launch.launch", interrupted)

    assert main(["train"]) == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on from the last saved state\n"


def test_the_installed_console_script_runs() -> None:
    script = Path(sys.executable).parent / "rcm-cascade"
    done = subprocess.run([script, "train", "seed=-1"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "seed: got -1" in done.stderr
    assert "Traceback" not in done.stderr
