"""Makes sweeps as training leaves them: real evaluations of label maps, real metrics.csv."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from rcm_cascade.classes import RCM_CLASSES, ClassTable
from rcm_cascade.evaluate.results import score_mosaic
from rcm_cascade.evaluate.summary import summarise
from rcm_cascade.evaluate.summary import write_metrics as write_numbers
from rcm_cascade.files import write_json
from rcm_cascade.pictures.comparison import comparison
from rcm_cascade.pictures.png import save_png
from rcm_cascade.runs.score import comparison_path, prediction_path
from rcm_cascade.training.history import MetricsCsv

BLOCK = 8
PIXEL_SIZE_UM = 20.0
STAGES = ("encoder1", "encoder2", "bottom", "decoder1", "decoder2", "head")


def truth_of(mosaic: int) -> NDArray[np.uint8]:
    """Blocks of all six classes, ``(64, 80)``, some unlabelled."""
    rng = np.random.default_rng(mosaic)
    ids = rng.permutation(np.arange(80) % 6).reshape(8, 10)
    truth = np.kron(ids, np.ones((BLOCK, BLOCK), np.int64)).astype(np.uint8)
    truth[np.kron(rng.random((8, 10)) < 0.2, np.ones((BLOCK, BLOCK), bool))] = 255
    assert set(np.unique(truth)) == {0, 1, 2, 3, 4, 5, 255}
    return truth


def predict(mosaic: int, wrong: float, seed: int, grain: int = 2) -> NDArray[np.uint8]:
    """The truth with a share ``wrong`` of its squares of ``grain`` px taken for another class."""
    rng = np.random.default_rng([mosaic, seed, grain])
    truth = truth_of(mosaic)
    shape = (truth.shape[0] // grain, truth.shape[1] // grain)
    flipped = np.kron(rng.random(shape) < wrong, np.ones((grain, grain), bool))
    others = np.kron(rng.integers(0, 6, shape), np.ones((grain, grain), np.int64))
    return np.where(flipped | (truth == 255), others, truth).astype(np.uint8)


def write_test_result(
    folder: Path,
    wrong: float,
    seed: int,
    *,
    mosaics: Sequence[int] = range(8),
    classes: ClassTable = RCM_CLASSES,
    pictures: bool = False,
    levels: bool = True,
) -> None:
    """An evaluation folder of mosaics of which the last two are of one patient."""
    results = []
    for number, mosaic in enumerate(mosaics):
        truth = truth_of(mosaic)
        # Mosaics differ in difficulty: the later, the worse.
        hard = wrong + 0.02 * mosaic
        final, coarse = predict(mosaic, hard, seed), predict(mosaic, min(1.0, hard + 0.1), seed, grain=4)
        name = f"mosaics/{mosaic}.tif"
        result = score_mosaic(
            final,
            truth,
            mosaic=name,
            patient=f"p{min(mosaic, 6)}",
            site="lab",
            pixel_size_um=PIXEL_SIZE_UM,
            classes=classes,
            levels=[(2, coarse), (1, final)] if levels else [],
        )
        assert 0 < result.confusion.trace() < result.confusion.sum()
        results.append(result)
        if pictures:
            rng = np.random.default_rng(mosaic)
            image = np.clip(40 * (truth % 6) + rng.integers(0, 40, truth.shape), 0, 255).astype(np.uint8)
            large, painted, predicted = (np.kron(a, np.ones((4, 4), np.uint8)) for a in (image, truth, final))
            picture = comparison(large, painted, predicted, classes, PIXEL_SIZE_UM / 4, name)
            save_png(picture, comparison_path(folder, number, name))
            save_png(predicted, prediction_path(folder, number, name))
    write_numbers(folder, summarise(results, classes, synthetic=True, draws=10), results, classes)


def write_metrics(
    path: Path, *, best: float, seed: int = 0, epochs: int = 6, epoch_s: float = 30.0, gradients: float | None = None
) -> None:
    """A metrics.csv whose validation score rises to ``best``; 5 s of each epoch are validation."""
    log = MetricsCsv(path)
    for epoch in range(epochs):
        done = (epoch + 1) / epochs
        row = {
            "epoch": epoch,
            "time/epoch_s": epoch_s,
            "time/validation_s": 5.0,
            "train/loss": 2.0 - done + 0.01 * seed,
            "val/mean_sensitivity": best * done**0.5,
        }
        if gradients is not None:
            for level in (1, 2):
                row[f"train/grad_norm_level{level}"] = gradients * level * done
                row |= {f"train/grad_norm_level{level}_{s}": gradients / 4**i for i, s in enumerate(STAGES)}
        log.log_metrics(row, 10 * (epoch + 1))
    log.save()


def write_job(
    folder: Path,
    *,
    wrong: float = 0.3,
    seed: int = 0,
    noise: int | None = None,
    best: float = 0.7,
    epoch_s: float = 30.0,
    gradients: float | None = None,
    pictures: bool = False,
    mosaics: Sequence[int] = range(8),
    config: dict[str, object] | None = None,
) -> None:
    """The folder of a finished and evaluated run; where it errs is drawn from ``noise``, else from the seed."""
    write_test_result(
        folder / "evaluation", wrong, seed if noise is None else noise, pictures=pictures, mosaics=mosaics
    )
    write_metrics(folder / "metrics.csv", best=best, seed=seed, epoch_s=epoch_s, gradients=gradients)
    plain = {"hash": "0" * 16, "data": {}, "model": {"levels": 3}, "seed": seed, "run": folder.name} | (config or {})
    (folder / "config.yaml").write_text(yaml.safe_dump(plain))
    result = {"dataset_id": "d1", "parameters": 1000 + int(1000 * wrong), "gflop_per_mp": 12.5, "version": "0.2.0"}
    write_json(folder / "result.json", result)


def write_sweep(path: Path, jobs: Mapping[str, Sequence[str]], name: str = "levels") -> Path:
    """The sweep.json of jobs by folder."""
    told = [{"folder": folder, "overrides": list(overrides)} for folder, overrides in jobs.items()]
    path.mkdir(parents=True, exist_ok=True)
    (path / "sweep.json").write_text(json.dumps({"name": name, "overrides": [f"+sweep={name}"], "jobs": told}))
    return path


def make_sweep(path: Path, *, pictures: bool = False) -> Path:
    """Three configurations of three seeds: the default, one as good, one far worse that never reaches a score."""
    jobs: dict[str, Sequence[str]] = {}
    kinds = {"model.levels=3": (0.3, 0.7), "model.levels=2": (0.3, 0.69), "model.levels=1": (0.5, 0.4)}
    for override, (wrong, best) in kinds.items():
        for seed in range(3):
            name = f"{override},seed={seed}"
            jobs[name] = ["data.batch_size=4", override, f"seed={seed}"]
            write_job(
                path / name,
                wrong=wrong,
                seed=seed,
                noise=seed + (10 if override == "model.levels=2" else 0),
                best=best + 0.01 * seed,
                epoch_s=35.0 if override == "model.levels=1" else 65.0,
                gradients=0.5 * wrong,
                pictures=pictures,
            )
    return write_sweep(path, jobs)
