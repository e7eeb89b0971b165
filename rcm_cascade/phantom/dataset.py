"""A folder of phantoms, as `rcm-cascade phantom` writes it."""

import math
import multiprocessing
import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
import yaml
from numpy.typing import NDArray
from PIL import Image

import rcm_cascade
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.data.manifest import write_dataset
from rcm_cascade.errors import InputError
from rcm_cascade.phantom.generate import generate
from rcm_cascade.phantom.people import make_patient
from rcm_cascade.phantom.recipe import Recipe, make_recipe
from rcm_cascade.progress import progress_bar

PIXEL_SIZES_UM = (0.25, 20.0)
LONGEST_PX = 32_000
"""Most rows or columns; cv2 draws no larger pictures."""

DESCRIPTION = "synthetic phantom (rcm-cascade); no patient"
TILE_PX = 256

GENERATOR = 2
"""Counts up whenever the same arguments give other mosaics; ``phantom.yaml`` says which made a folder."""


def write_phantoms(
    out: Path,
    *,
    mosaics: int,
    size_mm: tuple[float, float],
    pixel_size_um: float,
    seed: int = 0,
    patients: int | None = None,
    sites: int = 1,
    deformed_meshwork: float | None = None,
    processes: int | None = None,
) -> Path:
    """Writes a dataset folder of phantoms, whole or not at all.

    Beside what every dataset folder has, ``truth/`` holds the class of every pixel and ``phantom.yaml`` how the folder
    was made. The split is left open: it is drawn by patient when training starts. The same arguments give the same
    bytes, whatever ``processes`` is. In a script that is not a module's ``main``, guard the call by
    ``if __name__ == "__main__"``, as for any program that starts processes.

    Args:
        out: the folder; it must not exist, or be empty.
        mosaics: how many, at least 1.
        size_mm: height, width in mm of each.
        pixel_size_um: 0.25 to 20 µm.
        seed: at least 0; 0 is a seed like any other.
        patients: how many people the mosaics are dealt out to in turn; None: one mosaic each.
        sites: how many microscopes the patients are dealt out to in turn.
        deformed_meshwork: share of every mosaic's meshwork that is deformed, 0 to 1; None: drawn for each, .35 on
            average.
        processes: at most so many at once; None: as many as there are processors to run on.

    Returns:
        ``out``.

    Raises:
        InputError: for a value outside these ranges, a folder with something in it, or more than 32,000 px a side.
    """
    out = Path(out)
    people = mosaics if patients is None else patients
    _check(out, mosaics, size_mm, pixel_size_um, seed, people, sites, deformed_meshwork, processes)
    size_um = (size_mm[0] * 1000, size_mm[1] * 1000)
    recipes = [
        make_recipe(
            seed=seed,
            index=index,
            size_um=size_um,
            pixel_size_um=pixel_size_um,
            patient=make_patient(seed, index % people, sites),
            deformed_meshwork=deformed_meshwork,
        )
        for index in range(mosaics)
    ]
    with _whole_folder(out) as folder:
        for name in ("mosaics", "labels", "truth"):
            (folder / name).mkdir()
        _write_all(folder, recipes, processes)
        _write_tables(folder, recipes)
        arguments = {
            "mosaics": mosaics,
            "size_mm": [float(side) for side in size_mm],
            "pixel_size_um": float(pixel_size_um),
            "seed": seed,
            "patients": people,
            "sites": sites,
            "deformed_meshwork": deformed_meshwork,
        }
        record = yaml.safe_dump(_record(arguments, recipes), sort_keys=False)
        (folder / "phantom.yaml").write_text(record, encoding="utf-8")
    return out


def _check(
    out: Path,
    mosaics: int,
    size_mm: tuple[float, float],
    pixel_size_um: float,
    seed: int,
    patients: int,
    sites: int,
    deformed_meshwork: float | None,
    processes: int | None,
) -> None:
    if mosaics < 1:
        raise InputError(f"{mosaics} mosaics asked for; expected at least 1")
    for side in size_mm:
        if not (math.isfinite(side) and side > 0):
            raise InputError(f"mosaic size is {size_mm[0]:g} x {size_mm[1]:g} mm; expected two lengths above 0")
    low, high = PIXEL_SIZES_UM
    if not low <= pixel_size_um <= high:
        raise InputError(f"pixel size is {pixel_size_um:g} µm; phantoms can have {low:g} to {high:g} µm")
    longest = max(size_mm) * 1000 / pixel_size_um
    if longest > LONGEST_PX:
        raise InputError(
            f"a side of {max(size_mm):g} mm at {pixel_size_um:g} µm per pixel is {longest:.0f} px; "
            f"expected at most {LONGEST_PX}, so take a smaller size or larger pixels"
        )
    if seed < 0:
        raise InputError(f"seed is {seed}; expected 0 or more")
    if not 1 <= patients <= mosaics:
        raise InputError(f"{patients} patients asked for with {mosaics} mosaics; expected 1 to {mosaics}")
    if not 1 <= sites <= patients:
        raise InputError(f"{sites} sites asked for with {patients} patients; expected 1 to {patients}")
    if deformed_meshwork is not None and not 0 <= deformed_meshwork <= 1:
        raise InputError(f"the deformed share of the meshwork is {deformed_meshwork:g}; expected 0 to 1")
    if processes is not None and processes < 1:
        raise InputError(f"{processes} processes asked for; expected at least 1")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not an empty folder; give a new one or empty it first")


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its name once the body is through, and is gone if it fails."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.parent / f".{out.name}.{secrets.token_hex(4)}.tmp"
    folder.mkdir()
    try:
        yield folder
        folder.replace(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_all(folder: Path, recipes: list[Recipe], processes: int | None) -> None:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = min(processes or usable, len(recipes))
    megapixels = recipes[0].shape[0] * recipes[0].shape[1] / 1e6
    with progress_bar("phantoms", len(recipes) * megapixels, "MP") as advance:
        if count == 1:
            for recipe in recipes:
                _write_one(folder, recipe)
                advance(megapixels)
            return
        # spawned, for torch's threads do not survive a fork
        with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
            jobs = [pool.submit(_write_one, folder, recipe) for recipe in recipes]
            try:
                for job in as_completed(jobs):
                    job.result()
                    advance(megapixels)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def _write_one(folder: Path, recipe: Recipe) -> None:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the processes are the parallelism
    try:
        phantom = generate(recipe)
    finally:
        cv2.setNumThreads(threads)
    per_cm = 10_000 / recipe.pixel_size_um
    tifffile.imwrite(
        folder / "mosaics" / f"{recipe.name}.tif",
        phantom.image,
        photometric="minisblack",
        compression="zlib",
        tile=(TILE_PX, TILE_PX),
        resolution=(per_cm, per_cm),
        resolutionunit="CENTIMETER",
        description=DESCRIPTION,
        metadata=None,
        software=False,
    )
    _write_png(folder / "truth" / f"{recipe.name}.png", phantom.truth)
    _write_png(folder / "labels" / f"{recipe.name}.png", phantom.labels)


def _write_png(path: Path, labels: NDArray[np.uint8]) -> None:
    Image.fromarray(labels).save(path, format="PNG", compress_level=3)


def _write_tables(folder: Path, recipes: list[Recipe]) -> None:
    pixel_size = float(recipes[0].pixel_size_um)
    rows = [
        {
            "mosaic": f"mosaics/{recipe.name}.tif",
            "label": f"labels/{recipe.name}.png",
            "patient": recipe.patient.name,
            "site": recipe.patient.site.name,
            "pixel_size_um": f"{pixel_size:g}",
        }
        for recipe in recipes
    ]
    write_dataset(
        folder,
        name="phantom",
        classes=RCM_CLASSES,
        rows=rows,
        pixel_size_um=pixel_size,
        working_pixel_size_um=pixel_size,
        synthetic=True,
    )


def _record(arguments: dict[str, Any], recipes: list[Recipe]) -> dict[str, Any]:
    """What ``phantom.yaml`` says: the arguments, the version, and what was drawn for each mosaic."""
    drawn = []
    for recipe in recipes:
        row = asdict(recipe)
        for key in ("seed", "index", "size_um", "pixel_size_um"):
            del row[key]
        row["pattern_bias"] = list(recipe.pattern_bias)
        drawn.append({"mosaic": recipe.name, **row})
    return {
        "note": DESCRIPTION,
        "rcm_cascade": rcm_cascade.__version__,
        "generator": GENERATOR,
        "arguments": arguments,
        "mosaics": drawn,
    }
