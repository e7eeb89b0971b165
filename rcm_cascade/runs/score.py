"""Scores a checkpoint on labelled mosaics: whole, exact, on each mosaic's own grid. Writes files, no page.

And quantises it on those that it was trained on.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rcm_cascade import __version__
from rcm_cascade.annotate.annotator import Annotator
from rcm_cascade.annotate.backends import AnnotationOptions
from rcm_cascade.classes import ClassTable
from rcm_cascade.data.ids import dataset_ids, patient_ids
from rcm_cascade.data.manifest import DATASET_FILE, SplitName, read_dataset
from rcm_cascade.data.mosaic import Mosaic
from rcm_cascade.data.splits import make_split
from rcm_cascade.errors import InputError
from rcm_cascade.evaluate import calibration
from rcm_cascade.evaluate.results import CHECKPOINT_KEY, is_evaluation_of, score_mosaic
from rcm_cascade.evaluate.summary import summarise, write_metrics
from rcm_cascade.files import refuse_unwritable
from rcm_cascade.models.checkpoint import CheckpointHeader, digest, read_header, store_temperature
from rcm_cascade.pictures.comparison import comparison
from rcm_cascade.pictures.png import save_png
from rcm_cascade.progress import progress_bar
from rcm_cascade.runs.data import TrainingData, cache_of_run, data_of_checkpoint, dataset_folder, find_dataset
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.identity import RECORDED, read_config
from rcm_cascade.threads import say_what_is_left

if TYPE_CHECKING:  # it needs OpenVINO, an extra
    from rcm_cascade.annotate.cpu.int8 import Int8Report

EVALUATION: Final = "evaluation"
"""The folder of a run that holds what its test split gave."""


def score(
    checkpoint: Path,
    loaded: TrainingData,
    mosaics: Sequence[Mosaic],
    out: Path,
    *,
    part: str,
    fit_temperature: bool = False,
) -> dict[str, Any]:
    """Annotates labelled mosaics, compares with their label maps, and writes numbers, label maps and pictures.

    Each mosaic is annotated once: the final map, each level's own and the logits for calibration come from one pass.

    Args:
        checkpoint: to score.
        loaded: the data set that the mosaics belong to; the id of its content is written down, so that scores of other
            labels are recognised.
        mosaics: labelled, on the checkpoint's working grid; at least one.
        out: folder for the files of `write_metrics`, and of each mosaic the predicted label map (``predictions/``,
            grey PNG of class ids on the mosaic's own grid) and a picture (``comparisons/``).
        part: name of the split, for the page.
        fit_temperature: whether the temperature is fitted on these mosaics, which must then be for validation, and
            stored in the checkpoint; else the one that it holds is used.

    Returns:
        The content of metrics.json.

    Raises:
        InputError: if the data set's classes are not the checkpoint's, or it cannot be written.
    """
    annotator, dataset = Annotator.load(checkpoint, cache=loaded.cache), loaded.dataset
    classes = annotator.header.classes
    if dataset.classes.names != classes.names:
        raise InputError(
            f"{dataset.root / 'dataset.yaml'} has the classes {', '.join(dataset.classes.names)}, the checkpoint "
            f"{checkpoint} was trained on {', '.join(classes.names)}; evaluate it on data with its own classes"
        )
    scored = annotator.checkpoint_sha256
    say_what_is_left()
    named = {entry.mosaic for entry in dataset.entries if entry.patient_given}
    results, samples = [], []
    limit = calibration.pixels_per_mosaic(len(mosaics))
    with progress_bar(f"evaluating {len(mosaics)} mosaics", sum(m.image.size for m in mosaics) / 1e6, "MP") as advance:
        for number, mosaic in enumerate(mosaics):
            truth = mosaic.native_labels
            assert truth is not None
            assert mosaic.labels is not None
            sampler = calibration.LogitSampler(mosaic.labels, len(classes), limit)
            annotated = annotator.annotate_mosaic(mosaic, progress=advance, levels=True, observe=sampler.observe)
            samples.append(sampler.sample())
            prediction = annotated.labels
            result = score_mosaic(
                prediction,
                np.asarray(truth),
                mosaic=mosaic.name,
                patient=mosaic.patient,
                site=mosaic.site,
                pixel_size_um=mosaic.native_pixel_size_um,
                classes=classes,
                levels=((f, annotated.level_map(i)) for i, f in enumerate(annotated.annotation.factors)),
                patient_given=mosaic.name in named,
            )
            results.append(result)
            picture = comparison(
                mosaic.native_image, np.asarray(truth), prediction, classes, mosaic.native_pixel_size_um,
                title=mosaic.name,
            )  # fmt: skip
            save_png(picture, comparison_path(out, number, mosaic.name))
            save_png(prediction, prediction_path(out, number, mosaic.name))
    sample = calibration.LogitSample.join(samples)
    temperature = annotator.header.temperature
    if fit_temperature:
        temperature = calibration.fit_temperature(sample)
        store_temperature(checkpoint, temperature)
        scored = digest(checkpoint)  # which the temperature has changed
    working = annotator.header.working_pixel_size_um
    trained = loaded.recognised(annotator.header)
    trained_on = annotator.header.dataset
    if trained.mosaics_id == loaded.ids.mosaics and trained.dataset_id != loaded.ids.content:
        trained_on += f"; {RECORDED['dataset_id']} have changed since"
        print(f"warning: {checkpoint} was trained on {trained_on}", file=sys.stderr)
    facts = {
        "data": f"{dataset.name}, {part} split: {len(mosaics)} mosaics",
        "checkpoint": checkpoint.name,
        "trained on": trained_on,
        "working pixel size": f"{working:g} µm" if working else "each mosaic's own",
        "temperature": f"{temperature:.3g}, {'fitted on these mosaics' if fit_temperature else 'from the checkpoint'}",
        "rcm-cascade": __version__,
    }
    measured = calibration.measure_calibration(sample, temperature)
    summary = summarise(results, classes, synthetic=dataset.synthetic, calibration=measured)
    title = f"Evaluation: {dataset.name}, {part} split"
    summary |= {CHECKPOINT_KEY: scored, "dataset_id": loaded.ids.content, "title": title, "facts": facts}
    write_metrics(out, summary, results, classes)
    return summary


def is_scored(folder: RunFolder) -> bool:
    """Whether a run's test split has been scored with the checkpoint and the labels that there are now.

    Scores of data that have been moved away stand as they are, and so do those of before data were recorded.

    Raises:
        InputError: if the data are there and cannot be read.
    """
    out = folder.path / EVALUATION
    if not is_evaluation_of(out, folder.best) or not folder.config.is_file():
        return is_evaluation_of(out, folder.best)
    recorded = json.loads((out / "metrics.json").read_text(encoding="utf-8")).get("dataset_id")
    root = dataset_folder(read_config(folder.config).data) if recorded else Path()
    if not recorded or not (root / DATASET_FILE).is_file():
        return True
    return bool(recorded == dataset_ids(read_dataset(root), cache_of_run(folder)).content)


def comparison_path(out: Path, number: int, mosaic: str) -> Path:
    """Where the picture of a mosaic lies: numbered, since two mosaics may have one name in different folders."""
    return out / "comparisons" / _file_name(number, mosaic)


def prediction_path(out: Path, number: int, mosaic: str) -> Path:
    """Where the predicted label map of a mosaic lies, numbered likewise."""
    return out / "predictions" / _file_name(number, mosaic)


def _file_name(number: int, mosaic: str) -> str:
    return f"{number:03d}-{Path(mosaic).name.split('.')[0]}.png"


def evaluate(
    checkpoint: Path, root: Path, part: SplitName, out: Path | None, split_file: Path | None = None
) -> tuple[dict[str, Any], ClassTable, Path]:
    """Scores a checkpoint on a part of a data set.

    The checkpoint's own split counts for the data set that it was trained on, whatever its files are called by now, the
    manifest's for any other; ``split_file`` overrides both.

    Args:
        checkpoint: a .ckpt file.
        root: dataset folder.
        part: ``train``, ``val`` or ``test``.
        out: where to write; None: ``evaluation/`` in the checkpoint's run folder. That folder is for `best.ckpt` of a
            finished run and its own test split.
        split_file: CSV ``mosaic,split``.

    Returns:
        The content of metrics.json, the class table, and the folder written.

    Raises:
        InputError: if checkpoint, data or split is wrong.
    """
    header, run = read_header(checkpoint), RunFolder(checkpoint.resolve().parent.parent)
    loaded, same = data_of_checkpoint(header, run, root)
    dataset = loaded.dataset
    now = loaded.contents
    renamed = sorted(m for m in header.split if m not in now or header.contents.get(m, now[m]) != now[m])
    if same and renamed:
        gone = f"{root / 'manifest.csv'} no longer names {renamed[0]} ({len(renamed)} in all)"
        if header.contents:
            print(f"{gone}; each is known by its content, and is what it was in the training", file=sys.stderr)
        elif split_file is None:
            raise InputError(
                f"{gone}, by which the checkpoint knows what it was trained on; restore the name, or say which mosaics "
                "to score with --split-file CSV"
            )
    if split_file is not None or not same:
        loaded = replace(loaded, split=make_split(dataset, seed=0, split_file=split_file, training=False))
    _refuse_trained_on(loaded, part, header)
    loaded.need(part)
    own = run.path / EVALUATION
    if out is None and not run.config.is_file():
        raise InputError(f"checkpoint {checkpoint} lies in no run folder; say where to write with --out DIR")
    out = own if out is None else out
    if run.config.is_file() and out.resolve() == own.resolve():
        finished = checkpoint.resolve() == run.best.resolve() and run.result.is_file()
        if not finished or part != "test" or not same or split_file is not None:
            raise InputError(
                f"{own} is for {run.best} of the finished run on the test split that it was made with; say where to "
                f"write what {checkpoint} comes to on {part} of {root} with --out DIR"
            )
    refuse_unwritable(out)
    summary = score(checkpoint, loaded, loaded.open(part), out, part=part)
    return summary, header.classes, out


def _refuse_trained_on(loaded: TrainingData, part: SplitName, header: CheckpointHeader) -> None:
    """Refuses to score, as held out, mosaics that the checkpoint was trained on, whatever they are called here.

    Others of the patients that it was trained on are warned of: those of a patient who has such a mosaic in this data
    set, and those of the same patient's name in a data set of the same name.
    """
    dataset = loaded.dataset
    known, patients = header.parts(loaded.contents), patient_ids(dataset)
    if not header.contents and dataset.name == header.dataset:
        known = dict(header.split)
    held_out = [m for m, where in loaded.split.items() if where == part != "train"]
    if seen := [m for m in held_out if known.get(m) == "train"]:
        raise InputError(
            f"the {part} split of {dataset.root} holds {', '.join(seen)}, on which the checkpoint was trained; restore "
            "the split of the training, or name other mosaics with --split-file CSV"
        )
    trained = {patients.get(m) for m, was in known.items() if was == "train"}
    trained |= {header.patients.get(m) for m, was in header.split.items() if was == "train"}
    if theirs := [m for m in held_out if patients.get(m) in trained - {None}]:
        print(
            f"warning: {len(theirs)} mosaics of the {part} split of {dataset.root} are of patients on other mosaics of "
            f"whom the checkpoint was trained ({', '.join(theirs[:3])}{', …' if len(theirs) > 3 else ''}), so that "
            "their scores flatter",
            file=sys.stderr,
        )


def quantise_checkpoint(checkpoint: Path, root: Path | None = None, accept_loss: bool = False) -> "Int8Report":
    """`prepare_int8` on the mosaics that a checkpoint was trained on.

    Args:
        checkpoint: a .ckpt file.
        root: as in `calibration_mosaics`.
        accept_loss: as in `prepare_int8`.

    Raises:
        InputError: if int8 cannot be had here, the data set is not found, or the agreement is too low.
    """
    annotator = Annotator.load(checkpoint, device="cpu")
    annotator.prepare(AnnotationOptions(precision="fp32", backend="openvino"))  # refuses what OpenVINO cannot run
    from rcm_cascade.annotate.cpu.int8 import prepare_int8

    return prepare_int8(annotator, partial(calibration_mosaics, annotator.header, checkpoint, root), accept_loss)


def calibration_mosaics(
    header: CheckpointHeader, checkpoint: Path, root: Path | None
) -> tuple[list[Mosaic], list[Mosaic]]:
    """A checkpoint's training and validation mosaics.

    Args:
        header: of the checkpoint.
        checkpoint: whose run folder's config.yaml names the data set, and the cache of its decoded mosaics.
        root: the data set; None: the one named there.

    Raises:
        InputError: if the data set is not found, or is another than the checkpoint was trained on.
    """
    run = RunFolder(checkpoint.resolve().parent.parent)
    if root is None and not run.config.is_file():
        raise InputError(
            f"checkpoint {checkpoint} lies in no run folder, so its training mosaics are not known; name their "
            "data set with --calibrate ROOT"
        )
    loaded, same = data_of_checkpoint(header, run, root or find_dataset(read_config(run.config).data))
    if not same:
        raise InputError(
            f"{loaded.dataset.root} is not the data set that {checkpoint} was trained on ({header.dataset}); name that "
            "with --calibrate ROOT"
        )
    return loaded.open("train"), loaded.open("val")
