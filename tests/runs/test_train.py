import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from rcm_cascade.annotate.starter import starter_path
from rcm_cascade.cli import main
from rcm_cascade.data.datamodule import prepare
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.data.splits import read_split
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.confusion import confusion_matrix, macro_mean, sensitivity
from rcm_cascade.files import write_json
from rcm_cascade.models.checkpoint import digest, load_checkpoint
from rcm_cascade.report.pages import write_run_page
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.config import TrainConfig
from rcm_cascade.runs.data import load_training_data
from rcm_cascade.runs.identity import changed_data
from rcm_cascade.runs.train import identify, train
from rcm_cascade.runs.trainer import make_datamodule, make_header, make_module
from rcm_cascade.training.history import read_history
from rcm_cascade.training.module import CascadeModule
from tests.running import tiny


def test_a_run_leaves_what_the_design_names(finished_run: Path, phantoms: Path) -> None:
    for name in (
        "config.yaml", "split.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "metrics.csv", "result.json",
        "validation/metrics.json", "report.html", "batch.png",
    ):  # fmt: skip
        assert (finished_run / name).stat().st_size > 0, name
    config = yaml.safe_load((finished_run / "config.yaml").read_text())
    assert config["data"]["root"] == str(phantoms)
    assert set(read_split(finished_run / "split.csv").values()) == {"train", "val", "test"}
    result = json.loads((finished_run / "result.json").read_text())
    assert result["synthetic"]
    assert result["epochs"] == 1
    assert "synthetic" in (finished_run / "report.html").read_text()


def test_each_levels_loss_and_gradient_norm_is_logged(finished_run: Path) -> None:
    (row,) = read_history(finished_run / "metrics.csv")
    for level in (1, 2, 3):
        assert row[f"train/loss_level{level}"] > 0
        assert row[f"train/grad_norm_level{level}"] > 0
    assert row["train/loss"] == pytest.approx(np.mean([row[f"train/loss_level{i}"] for i in (1, 2, 3)]), rel=1e-4)
    assert 0 < row["train/labelled_area_covered"] <= 1
    assert 0 <= row["val/mean_sensitivity"] <= 1


def test_checkpoints_hold_plain_types_and_all_that_annotation_needs(finished_run: Path, phantoms: Path) -> None:
    for name in ("best", "last"):
        path = finished_run / "checkpoints" / f"{name}.ckpt"
        content = torch.load(path, weights_only=True)
        assert not any("_orig_mod" in key for key in content["state_dict"])
        assert "hyper_parameters" not in content
        header = load_checkpoint(path).header
        assert header.working_pixel_size_um == 8
        assert header.split == read_split(finished_run / "split.csv")
        assert header.synthetic


def test_a_finished_run_is_left_alone(finished_run: Path, phantoms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished_run.rglob("*") if p.name != ".lock"}
    result = train(compose_config(tiny(phantoms, "data.num_workers=1")), finished_run)
    assert result["epochs"] == 1
    assert "is finished" in capsys.readouterr().err
    assert before == {p: p.stat().st_mtime_ns for p in finished_run.rglob("*") if p.name != ".lock"}


def test_a_folder_with_another_configuration_is_refused(finished_run: Path, phantoms: Path) -> None:
    with pytest.raises(InputError, match=r"model\.base_filters: 2 → 3"):
        train(compose_config(tiny(phantoms, "model.base_filters=3")), finished_run)


def test_with_an_average_what_was_validated_is_what_was_saved(phantoms: Path, tmp_path: Path) -> None:
    config = compose_config(tiny(phantoms, "optim.ema=0.9", "trainer.steps_per_epoch=4", "trainer.max_epochs=2"))
    result = train(config, tmp_path / "run")
    network = load_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt").network
    loaded = load_training_data(config.data)
    datamodule = make_datamodule(config, loaded, make_header(config, loaded))
    matrix = np.zeros((6, 6), np.int64)
    for batch in datamodule.val_dataloader():
        ready = prepare(batch, datamodule.arguments.region_side)
        with torch.inference_mode():
            prediction = network(ready["image"])[-1].argmax(dim=1)
        matrix += confusion_matrix(prediction.numpy().astype(np.uint8), ready["labels"].numpy(), 6)
    assert macro_mean(sensitivity(matrix), matrix) == pytest.approx(result["best_mean_sensitivity"], abs=2e-3)
    content = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert any(
        not torch.equal(content["state_dict"][k], content["current_model_state"][k])
        for k in content["state_dict"]
        if "running_mean" in k
    )


def test_without_validation_patients_the_last_epoch_counts(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mosaics = [line.split(",")[0] for line in (phantoms / "manifest.csv").read_text().splitlines()[1:]]
    split = tmp_path / "split.csv"
    split.write_text("mosaic,split\n" + "".join(f"{m},train\n" for m in mosaics[:2]))
    result = train(compose_config(tiny(phantoms, f"data.split_file={split}")), tmp_path / "run")
    assert result["validation"] is None
    assert "the last epoch counts" in capsys.readouterr().err
    states = [
        torch.load(tmp_path / "run" / "checkpoints" / f"{n}.ckpt", weights_only=True)["state_dict"]
        for n in ("best", "last")
    ]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_a_time_limit_ends_the_run_within_an_epoch(phantoms: Path, tmp_path: Path) -> None:
    overrides = [o for o in tiny(phantoms) if o != "+debug=fast"]
    config = compose_config([*overrides, "trainer.max_time=00:00:00:02", "data.batch_size=2"])
    started = time.monotonic()
    result = train(config, tmp_path / "run")
    assert result["steps"] > 0
    assert time.monotonic() - started < 60
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()


def test_a_number_of_steps_ends_the_run_within_an_epoch_and_validates(phantoms: Path, tmp_path: Path) -> None:
    overrides = [o for o in tiny(phantoms) if o != "+debug=fast"]
    config = compose_config([*overrides, "trainer.max_steps=5", "trainer.steps_per_epoch=3", "data.batch_size=2"])
    result = train(config, tmp_path / "run")
    assert (result["steps"], result["epochs"]) == (5, 2)
    assert "best_mean_sensitivity" in result
    assert "val/mean_sensitivity" in read_history(tmp_path / "run" / "metrics.csv")[-1]
    assert train(config, tmp_path / "run") == result


def test_a_finished_run_whose_split_has_changed_is_refused(finished_run: Path, phantoms: Path, tmp_path: Path) -> None:
    config = compose_config(tiny(phantoms))
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    result = json.loads((run / "result.json").read_text())
    for key, what in (("split_id", "the split"), ("mosaics_id", "the data set"), ("dataset_id", "the labels, ")):
        write_json(run / "result.json", result | {key: "another"})
        with pytest.raises(InputError, match=rf"{what}.* of .* changed since .*run was trained on it"):
            train(config, run)


def copy_writable(root: Path, to: Path) -> Path:
    """A copy of a data set whose files may be overwritten."""
    for path in root.rglob("*"):
        if path.is_file():
            (to / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            (to / path.relative_to(root)).write_bytes(path.read_bytes())
    return to


def test_a_label_map_overwritten_in_place_is_noticed(phantoms: Path, tmp_path: Path) -> None:
    root = copy_writable(phantoms, tmp_path / "copy")
    config = compose_config(tiny(root))
    train(config, tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "half")
    (tmp_path / "half" / "result.json").unlink()  # as if it had been killed before the end
    labels = next(entry.label for entry in read_dataset(root).entries if entry.label is not None)
    pixels = np.asarray(Image.open(labels)).copy()
    pixels[:8] = 0
    Image.fromarray(pixels).save(labels)
    for run in ("run", "half"):
        with pytest.raises(InputError, match=r"the labels, .* of .*copy changed since .* was trained on it"):
            train(config, tmp_path / run)


def test_a_finished_run_is_trained_longer_where_that_is_asked_for(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [*[o for o in tiny(phantoms) if o != "+debug=fast"], "trainer.steps_per_epoch=3", "data.batch_size=2"]

    def config(steps: int, *more: str) -> TrainConfig:
        return compose_config([*asked, f"trainer.max_steps={steps}", *more])

    assert train(config(4), tmp_path)["steps"] == 4
    with pytest.raises(InputError, match=r"max_steps: 4 → 9\); add extend=true to train it longer, choose another"):
        train(config(9), tmp_path)
    with pytest.raises(InputError, match=r"max_steps: 4 → 3\); choose another"):
        train(config(3, "extend=true"), tmp_path)
    assert train(config(9, "extend=true"), tmp_path)["steps"] == 9
    assert [row["step"] for row in read_history(tmp_path / "metrics.csv")] == sorted(
        {row["step"] for row in read_history(tmp_path / "metrics.csv")}
    )
    capsys.readouterr()
    for again in (config(9), config(9, "extend=true")):
        assert train(again, tmp_path)["steps"] == 9
        assert "is finished" in capsys.readouterr().err


def test_the_time_of_training_is_without_that_of_validation(finished_run: Path) -> None:
    (row,) = read_history(finished_run / "metrics.csv")
    result = json.loads((finished_run / "result.json").read_text())
    assert row["time/validation_s"] > 0
    assert result["seconds"] == pytest.approx(row["time/epoch_s"] - row["time/validation_s"], abs=0.06)


def test_test_mosaics_are_never_opened(phantoms: Path, tmp_path: Path) -> None:
    config = compose_config(tiny(phantoms))
    split = load_training_data(config.data).split
    held_out = [m for m, part in split.items() if part == "test"]
    assert held_out
    copy = copy_writable(phantoms, tmp_path / "copy")
    for mosaic in held_out:
        (copy / mosaic).write_bytes(b"not an image")
    train(compose_config(tiny(copy)), tmp_path / "run")


def command(*overrides: str) -> list[str]:
    return [str(Path(sys.executable).parent / "rcm-cascade"), "train", *overrides]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_resume_after_sigkill_gives_the_same_weights(phantoms: Path, tmp_path: Path, workers: int) -> None:
    overrides = [
        *[o for o in tiny(phantoms) if o != "+debug=fast"],
        "run=a", "trainer.max_epochs=4", "trainer.steps_per_epoch=6", "data.batch_size=4", "trainer.precision=fp32",
        "optim.ema=0.9",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    subprocess.run(command(*overrides), cwd=whole, env=environment, check=True, capture_output=True)

    overrides.append(f"data.num_workers={workers}")
    last = parts / "runs" / "a" / "checkpoints" / "last.ckpt"
    process = subprocess.Popen(
        command(*overrides), cwd=parts, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while not last.exists() or torch.load(last, weights_only=True, mmap=True)["epoch"] < 1:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (parts / "runs" / "a" / "result.json").exists()
    subprocess.run(command(*overrides), cwd=parts, env=environment, check=True, capture_output=True)

    a, b = (torch.load(f / "runs" / "a" / "checkpoints" / "last.ckpt", weights_only=True) for f in (whole, parts))
    assert a["global_step"] == b["global_step"] == 24
    for state in ("state_dict", "current_model_state", "averaging_state"):  # the average, the weights, its count
        for key, weights in a[state].items():
            assert torch.equal(weights, b[state][key]), (state, key)
    assert any(not torch.equal(weights, a["current_model_state"][key]) for key, weights in a["state_dict"].items())
    rows = [read_history(f / "runs" / "a" / "metrics.csv") for f in (whole, parts)]
    assert [r["step"] for r in rows[0]] == [r["step"] for r in rows[1]]
    assert [r["train/loss"] for r in rows[0]] == [r["train/loss"] for r in rows[1]]


@pytest.mark.slow
def test_a_compiled_run_learns_the_same(phantoms: Path, tmp_path: Path) -> None:
    losses = []
    for compiled in ("true", "false"):
        (tmp_path / compiled).mkdir()
        small = ["model.levels=1", "model.base_depth=1", "run=a", "optim.ema=0.5", f"trainer.compile={compiled}"]
        done = subprocess.run(
            command(*tiny(phantoms), *small), cwd=tmp_path / compiled, check=True, capture_output=True, text=True
        )
        assert "Warning" not in done.stderr
        run = tmp_path / compiled / "runs" / "a"
        load_checkpoint(run / "checkpoints" / "best.ckpt")
        losses.append([row["train/loss"] for row in read_history(run / "metrics.csv")])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_first_attempt_that_failed_early_locks_no_folder(phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        train(compose_config(tiny(tmp_path / "nowhere")), tmp_path / "run")
    assert train(compose_config(tiny(phantoms)), tmp_path / "run")["epochs"] == 1


def test_a_run_begins_with_the_weights_that_it_is_told_to(
    finished_run: Path,
    phantoms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    best = finished_run / "checkpoints" / "best.ckpt"
    expected = load_checkpoint(best).network.state_dict()
    began: list[bool] = []

    def note(module: CascadeModule) -> None:
        weights = module.network.state_dict()
        began.append(all(torch.equal(tensor, expected[name]) for name, tensor in weights.items()))

    monkeypatch.setattr(CascadeModule, "on_fit_start", note)
    train(compose_config(tiny(phantoms)), tmp_path / "random")
    result = train(compose_config(tiny(phantoms, f"init={best}")), tmp_path / "begun")
    assert began == [False, True]
    assert f"init={best}: training begins with" in capsys.readouterr().err
    assert result["init"] == digest(best)
    assert load_checkpoint(tmp_path / "begun" / "checkpoints" / "best.ckpt").header.init == digest(best)
    assert f"init={best} (SHA-256 {digest(best)[:12]}…)" in write_run_page(tmp_path / "begun").read_text()
    assert "init" not in json.loads((tmp_path / "random" / "result.json").read_text())
    config = compose_config(tiny(phantoms, f"init={best}"))
    facts = identify(config)
    assert facts is not None
    assert changed_data(result, facts) == ""
    assert changed_data(result, facts | {"init": "another"}) == "the weights to begin with"


def test_a_run_that_goes_on_does_not_begin_again(
    finished_run: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init, run = tmp_path / "init.ckpt", tmp_path / "run"
    shutil.copyfile(finished_run / "checkpoints" / "best.ckpt", init)
    config = compose_config(tiny(phantoms, f"init={init}"))
    result = train(config, run)
    trained = load_checkpoint(run / "checkpoints" / "last.ckpt").network.state_dict()
    (run / "result.json").unlink()  # as if it had been killed before the end
    init.unlink()
    capsys.readouterr()

    assert train(config, run)["init"] == result["init"]

    assert "training begins with" not in capsys.readouterr().err
    again = load_checkpoint(run / "checkpoints" / "last.ckpt")
    assert again.header.init == result["init"]
    assert all(torch.equal(tensor, trained[name]) for name, tensor in again.network.state_dict().items())
    assert train(config, run)["init"] == result["init"]  # finished, and init is gone


def test_batches_are_put_together_and_batch_norms_held_still_where_asked(phantoms: Path, tmp_path: Path) -> None:
    asked = ["trainer.accumulate=2", "optim.freeze_norm=true", "trainer.steps_per_epoch=5", "trainer.max_epochs=1"]
    assert train(compose_config(tiny(phantoms, *asked)), tmp_path / "run")["steps"] == 3
    state = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt").network.state_dict()
    means = [value for name, value in state.items() if name.endswith("running_mean")]
    assert means
    assert not any(mean.any() for mean in means)


def test_a_disk_that_fills_leaves_the_checkpoint_before_and_the_command_goes_on(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, last = compose_config(tiny(phantoms, "trainer.max_epochs=3")), tmp_path / "checkpoints" / "last.ckpt"
    save = torch.save

    def fill(content: dict[str, Any], to: BinaryIO) -> None:
        if last.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        save(content, to)

    with monkeypatch.context() as disk:
        disk.setattr(torch, "save", fill)
        with pytest.raises(InputError, match=r"\.ckpt cannot be written .*No space left on device"):
            train(config, tmp_path)
    assert torch.load(last, weights_only=True)["epoch"] == 0
    assert train(config, tmp_path)["epochs"] == 3


def test_a_run_whose_last_checkpoint_is_damaged_says_how_to_begin_again(
    finished_run: Path, phantoms: Path, tmp_path: Path
) -> None:
    config, run, last = compose_config(tiny(phantoms)), tmp_path / "run", tmp_path / "run" / "checkpoints" / "last.ckpt"
    shutil.copytree(finished_run, run)
    (run / "result.json").unlink()
    content, whole = torch.load(last, weights_only=True), bytearray(last.read_bytes())
    last.write_bytes(b"half")
    with pytest.raises(InputError, match=r"last\.ckpt cannot be read .*; delete it to train from the beginning$"):
        train(config, run)
    whole[len(whole) // 2] ^= 1
    last.write_bytes(whole)
    with pytest.raises(InputError, match=r"last\.ckpt cannot be read \(BadZipFile\); delete it to train from the beg"):
        train(config, run)
    content["state_dict"]["network.levels.0.head.bias"][0] = torch.nan
    torch.save(content, last)
    with pytest.raises(InputError, match=r"last\.ckpt cannot be used: levels\.0\.head\.bias .* not finite; delete it"):
        train(config, run)


@pytest.mark.parametrize(
    ("filters", "layout"), [(2, torch.channels_last), (513, torch.contiguous_format)], ids=["small", "large"]
)
def test_the_network_lies_as_its_activations_are_computed_fastest(
    filters: int, layout: torch.memory_format, phantoms: Path
) -> None:
    small = ["model.levels=1", "model.base_depth=1", f"model.base_filters={filters}", "trainer.precision=fp32"]
    config = compose_config(["trainer.accelerator=cpu", *tiny(phantoms), *small])
    loaded = load_training_data(config.data)
    header = make_header(config, loaded)
    module = make_module(config, header, make_datamodule(config, loaded, header))
    weights = [p for p in module.network.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    assert weights
    assert all(p.is_contiguous(memory_format=layout) for p in weights)


def test_the_starter_is_refused_for_another_network_and_taken_for_its_own(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"a network of base_filters 12, .* asks for 2; add model\.base_filters=12"):
        train(compose_config(tiny(phantoms, "init=starter")), tmp_path / "run")
    taken = [o for o in tiny(phantoms, "experiment=from_starter") if not o.startswith("model.")]
    assert train(compose_config(taken), tmp_path / "run")["init"] == digest(starter_path())
    assert "warning" not in capsys.readouterr().err


def test_weights_that_are_not_there_are_missed_before_phantoms_are_made(phantoms: Path, tmp_path: Path) -> None:
    new = [o for o in tiny(phantoms) if not o.startswith("data")]
    with pytest.raises(InputError, match=r"^init=nothing: checkpoint nothing does not exist"):
        train(compose_config([*new, f"data.root={tmp_path / 'phantoms'}", "init=nothing"]), tmp_path / "run")
    assert not (tmp_path / "phantoms").exists()


def test_a_batch_is_drawn_without_training(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["batch", *tiny(phantoms), "--out", "seen.png"]) == 0
    assert capsys.readouterr().out.strip() == "seen.png"
    assert [p.name for p in tmp_path.iterdir()] == ["seen.png"]


def test_a_phantom_root_that_holds_something_else_is_refused(phantoms: Path, tmp_path: Path) -> None:
    overrides = [o for o in tiny(phantoms) if o != "data=folder"]
    with pytest.raises(InputError, match=r"other parameters .*mosaics: 6 → 4"):
        train(compose_config(overrides), tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "dataset.yaml").write_text("name: mine\n")
    with pytest.raises(InputError, match="data=folder"):
        train(compose_config([*overrides, f"data.root={tmp_path / 'mine'}"]), tmp_path / "run")


@pytest.mark.parametrize("table", [True, False], ids=["of the table", "of the training labels"])
def test_one_class_is_trained_scored_and_annotated(
    table: bool, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = copy_writable(phantoms, tmp_path / "set")
    split = load_training_data(compose_config(tiny(root)).data).split
    for entry in read_dataset(root).entries:
        if entry.label is not None and (table or split[entry.mosaic] == "train"):
            labels = np.asarray(Image.open(entry.label)).copy()
            labels[labels != 255] = 0 if table else 3
            Image.fromarray(labels).save(entry.label)
    if table:
        settings = yaml.safe_load((root / "dataset.yaml").read_text())
        settings["classes"] = settings["classes"][:1]
        (root / "dataset.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.chdir(tmp_path)
    more = ["loss.class_weights=inverse_frequency", "data.sampling=balanced", "run=a"]
    assert main(["train", *tiny(root, *more)]) == 0
    best = "runs/a/checkpoints/best.ckpt"
    assert main(["evaluate", best, "--data", str(root)]) == 0
    mosaic = next(m for m, part in split.items() if part == "test")
    assert main(["annotate", str(root / mosaic), "--checkpoint", best, "--out", "out"]) == 0
    metrics = json.loads((tmp_path / "runs" / "a" / "evaluation" / "metrics.json").read_text())
    assert metrics["classes"][0]["labelled_pixels"] > 0
    if table:
        assert np.shape(metrics["confusion"]) == (1, 1)
        assert metrics["mean"] | {"specificity": None, "sensitivity": 1.0} == metrics["mean"]
    assert (tmp_path / "runs" / "a" / "report.html").is_file()
    assert len(list((tmp_path / "out").iterdir())) == 5
