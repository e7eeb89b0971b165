"""Scores label maps that another tool or reader has made, with the same numbers as a checkpoint's."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rcm_cascade import __version__
from rcm_cascade.classes import UNLABELLED, ClassTable
from rcm_cascade.data.cache import MosaicCache
from rcm_cascade.data.labels import read_labels
from rcm_cascade.data.manifest import SplitName, read_dataset
from rcm_cascade.data.mosaic import Mosaic
from rcm_cascade.data.splits import make_split
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate.agreement import agreement
from rcm_cascade.evaluate.bootstrap import paired_differences, pool_by_patient
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.evaluate.results import MosaicResult, read_results, score_mosaic
from rcm_cascade.evaluate.summary import summarise, write_metrics
from rcm_cascade.files import refuse_unwritable, write_json
from rcm_cascade.pictures.comparison import comparison
from rcm_cascade.pictures.png import save_png
from rcm_cascade.progress import progress_bar
from rcm_cascade.runs.data import TrainingData
from rcm_cascade.runs.score import comparison_path, prediction_path

_MAP: Final = re.compile(r"(?:\d{3}-)?(?P<stem>.+?)(?:\.labels)?(?:\.ome)?\.(?:png|tiff?|bmp)", re.I)
"""A label map's name: the mosaic's, as `annotate`, `evaluate` and most tools write it."""

LABELS: Final = "labels"
"""The data set's own label maps, as a reader."""


def score_predictions(
    predictions: Path, root: Path, part: SplitName, out: Path, split_file: Path | None = None, ours: Path | None = None
) -> tuple[dict[str, Any], ClassTable]:
    """Compares a folder of label maps with the labels of a part of a data set, and writes what `score` writes.

    Args:
        predictions: folder of label maps named as the mosaics, class ids on the mosaics' own grid.
        root: dataset folder.
        part: of its split: the manifest's, unless a file is given.
        out: where to write.
        split_file: CSV ``mosaic,split``.
        ours: an evaluation of the same mosaics, to which the differences are paired; None: there is none.

    Returns:
        The content of metrics.json, and the class table.

    Raises:
        InputError: if a map is missing or does not fit, or the evaluation is of other mosaics.
    """
    loaded, mosaics = _labelled(root, part, split_file)
    dataset, classes = loaded.dataset, loaded.dataset.classes
    named = {entry.mosaic for entry in dataset.entries if entry.patient_given}
    files = _maps(predictions, mosaics)
    refuse_unwritable(out)
    results: list[MosaicResult] = []
    with progress_bar(f"scoring {len(mosaics)} maps", len(mosaics), "maps") as advance:
        for number, (mosaic, file) in enumerate(zip(mosaics, files, strict=True)):
            truth, prediction = _truth(mosaic), _complete(file, mosaic, classes)
            results.append(
                score_mosaic(
                    prediction, truth, mosaic=mosaic.name, patient=mosaic.patient, site=mosaic.site, classes=classes,
                    pixel_size_um=mosaic.native_pixel_size_um, patient_given=mosaic.name in named,
                )
            )  # fmt: skip
            picture = comparison(
                mosaic.native_image, truth, prediction, classes, mosaic.native_pixel_size_um, title=mosaic.name
            )
            save_png(picture, comparison_path(out, number, mosaic.name))
            save_png(prediction, prediction_path(out, number, mosaic.name))
            advance(1)
    summary = summarise(results, classes, synthetic=dataset.synthetic)
    facts = {"data": f"{dataset.name}, {part} split: {len(mosaics)} mosaics", "label maps": predictions.name}
    if ours is not None:
        summary["paired"] = _paired(results, ours)
        facts |= {f"mean {key} less ours": _difference_text(d) for key, d in summary["paired"].items()}
    summary |= {"title": f"Label maps: {dataset.name}, {part} split", "dataset_id": loaded.ids.content}
    summary["facts"] = facts | {"rcm-cascade": __version__}
    write_metrics(out, summary, results, classes)
    return summary, classes


def compare_readers(
    readers: Sequence[Path], root: Path, part: SplitName, out: Path, split_file: Path | None = None
) -> dict[str, Any]:
    """Agreement of readers among each other and with the data set's labels, written to ``agreement.json``.

    Args:
        readers: folders of label maps, each a reader's; what a reader left unlabelled counts for none.
        root: dataset folder, whose label maps are a reader's, too.
        part: of its split.
        out: where to write.
        split_file: CSV ``mosaic,split``.

    Raises:
        InputError: if a map is missing or does not fit, or two readers have one name.
    """
    loaded, mosaics = _labelled(root, part, split_file)
    classes = loaded.dataset.classes
    names = [folder.resolve().name for folder in readers]
    if len({*names, LABELS}) <= len(names):
        raise InputError(
            f"the readers {', '.join(names)} have one name, or that of the data set's own labels, {LABELS}; name their "
            "folders after them"
        )
    refuse_unwritable(out)
    maps: dict[str, list[NDArray[np.uint8]]] = {LABELS: [_truth(mosaic) for mosaic in mosaics]}
    for name, folder in zip(names, readers, strict=True):
        files = _maps(folder, mosaics)
        pairs = zip(files, mosaics, strict=True)
        maps[name] = [read_labels(file, classes, mosaic.native_shape) for file, mosaic in pairs]
    found = agreement(maps, [mosaic.patient for mosaic in mosaics], classes) | {"mosaics": len(mosaics)}
    write_json(out / "agreement.json", found)
    return found


def _labelled(root: Path, part: SplitName, split_file: Path | None) -> tuple[TrainingData, list[Mosaic]]:
    dataset = read_dataset(root)
    split = make_split(dataset, seed=0, split_file=split_file, training=False)
    loaded = TrainingData(dataset, split, None, "none", MosaicCache())
    loaded.need(part)
    return loaded, loaded.open(part)


def _truth(mosaic: Mosaic) -> NDArray[np.uint8]:
    assert mosaic.native_labels is not None  # labelled mosaics alone are opened
    return np.asarray(mosaic.native_labels)


def _maps(folder: Path, mosaics: Sequence[Mosaic]) -> list[Path]:
    """The map of each mosaic."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give one of label maps, named as the mosaics")
    by_stem: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if (match := _MAP.fullmatch(path.name)) is not None:
            by_stem.setdefault(match["stem"], []).append(path)
    found = []
    for mosaic in mosaics:
        stem = Path(mosaic.name).name.split(".")[0]
        files = by_stem.get(stem, [])
        if len(files) != 1:
            fault = "no map" if not files else f"several maps ({', '.join(path.name for path in files)})"
            raise InputError(f"{folder} has {fault} of {mosaic.name}; expected one, named {stem}.png or {stem}.tif")
        found += files
    return found


def _complete(file: Path, mosaic: Mosaic, classes: ClassTable) -> NDArray[np.uint8]:
    """A map that gives each labelled pixel a class."""
    prediction = read_labels(file, classes, mosaic.native_shape)
    missing = (prediction == UNLABELLED) & (_truth(mosaic) != UNLABELLED)
    if missing.any():
        row, col = np.unravel_index(int(missing.argmax()), missing.shape)
        raise InputError(
            f"{file} leaves {missing.sum()} labelled px without a class, the first at row {row}, column {col}; give "
            "each a class, or compare readers with --readers"
        )
    return prediction


def _paired(results: Sequence[MosaicResult], ours: Path) -> dict[str, Any]:
    """By metric: the difference of macro means, theirs less ours, with its interval."""
    own = {each.mosaic: each for each in read_results(ours / "confusions.json")[1]}
    if own.keys() != {each.mosaic for each in results}:
        raise InputError(f"{ours} is an evaluation of other mosaics; evaluate the checkpoint on the same split")
    patients = [each.patient for each in results]
    theirs_by = {0: pool_by_patient([each.confusion for each in results], patients)}
    ours_by = {0: pool_by_patient([own[each.mosaic].confusion for each in results], patients)}
    found = {}
    for key, metric in METRICS.items():
        mean = paired_differences(theirs_by, ours_by, metric.with_mean)[-1]
        found[key] = {"difference": mean.value, "ci": mean.interval, "patients": mean.patients}
    return found


def _difference_text(found: dict[str, Any]) -> str:
    if found["difference"] is None:
        return "undefined"
    interval = "" if found["ci"] is None else " ({:+.3f} to {:+.3f})".format(*found["ci"])
    return f"{found['difference']:+.3f}{interval}"
