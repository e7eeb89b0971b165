"""The labeller's loop on phantoms: annotate, correct fields by the truth, import, train again; which fields pay?

Everything goes through the commands that a labeller would use. Of the training mosaics a few fields of 0.5 mm are
labelled; each round labels as many more: those that `annotate --label-next` names, or random ones, class-balanced
alike; a third arm trains on without new labels. Writes results.csv, table.md and figure.png into --out; the same
command resumes. Usage: python -m experiments.loop.loop --out runs/loop
"""

import csv
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import matplotlib.pyplot as plt
import numpy as np
import tifffile
import typer
from numpy.typing import NDArray

from experiments.script import by_patient, difference_text, rcm_cascade, refuse_outside_runs, run, spread, table
from rcm_cascade.annotate.fields import Fields, count_fields
from rcm_cascade.annotate.outlines import outlines
from rcm_cascade.annotate.outputs.geojson import feature
from rcm_cascade.classes import RCM_CLASSES, UNLABELLED
from rcm_cascade.data.formats import read_image
from rcm_cascade.data.labels import read_labels
from rcm_cascade.data.manifest import read_dataset, write_dataset
from rcm_cascade.evaluate.bootstrap import paired_differences
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.files import write_text

ARMS: Final = {"doubted": "label-next", "random": "random, class-balanced", "none": "no new labels"}
PIXEL_UM: Final = 8
TRAINED: Final = 10
VALIDATED: Final = 4


@dataclass(frozen=True)
class Setting:
    """How much is labelled and trained.

    Args:
        out: folder for everything.
        mosaics: phantoms, of which `TRAINED` and `VALIDATED` are not tested.
        fields: of each training mosaic, labelled at the start and in each round.
        rounds: of correcting.
        steps: of training at the start; half as many in each round.
    """

    out: Path
    mosaics: int
    fields: int
    rounds: int
    steps: int

    @property
    def truth(self) -> Path:
        """The data set with all labels."""
        return self.out / "truth"


def main(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to work in.")] = Path("runs/loop"),
    seeds: Annotated[int, typer.Option(metavar="N", min=1)] = 3,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Of correcting.")] = 3,
    fields: Annotated[int, typer.Option(metavar="N", min=1, help="Of a mosaic, labelled in a round.")] = 4,
    steps: Annotated[int, typer.Option(metavar="N", min=2, help="Of training at the start.")] = 900,
    mosaics: Annotated[int, typer.Option(metavar="N", min=TRAINED + VALIDATED + 1)] = 30,
    processes: Annotated[int, typer.Option(metavar="N", min=1, help="That train at a time, a core each.")] = 2,
) -> None:
    refuse_outside_runs(out)
    setting = Setting(out, mosaics, fields, rounds, steps)
    make_truth(setting)
    with ThreadPoolExecutor(processes) as pool:
        found = [row for rows in pool.map(lambda seed: one_seed(setting, seed), range(seeds)) for row in rows]
    with (out / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    write_text(out / "table.md", to_markdown(setting, found))
    draw(out / "figure.png", found)
    print((out / "table.md").read_text("utf-8"), end="")


def make_truth(setting: Setting) -> None:
    """Phantoms, densely labelled, each with its part."""
    if setting.truth.exists():
        return
    made = setting.out / "made"
    if not (made / "manifest.csv").exists():
        rcm_cascade("phantom", made, "--mosaics", setting.mosaics, "--seed", 61, "--sites", 3, "--pixel-size", PIXEL_UM)
    rows: list[dict[str, Any]] = []
    for place, entry in enumerate(read_dataset(made).entries):
        split = "train" if place < TRAINED else "val" if place < TRAINED + VALIDATED else "test"
        rows.append({"mosaic": entry.mosaic, "label": f"labels/{entry.image.stem}.png", "split": split})
        rows[-1] |= {"patient": entry.patient, "site": entry.site, "pixel_size_um": PIXEL_UM}
        assert entry.label is not None
        assert (made / rows[-1]["label"]).samefile(entry.label)
    write_dataset(made, classes=RCM_CLASSES, rows=rows, name="loop", synthetic=True, working_pixel_size_um=PIXEL_UM)
    made.rename(setting.truth)


def one_seed(setting: Setting, seed: int) -> list[dict[str, Any]]:
    """The beginning, and every arm from there."""
    folder = setting.out / f"seed{seed}"
    begun = folder / "begin"
    labelled = {mosaic: fields[: setting.fields] for mosaic, fields in random_fields(setting, seed, None).items()}
    begin_data(setting, begun / "data", labelled)
    checkpoint = train(setting, begun, seed, setting.steps, None)
    found = [row_of(setting, begun, checkpoint, arm, seed, 0) for arm in ARMS]
    for arm in ARMS:
        data, weights = begun / "data", checkpoint
        for number in range(1, setting.rounds + 1):
            here = folder / f"{arm}{number}"
            data = correct(setting, arm, here, data, weights, seed * 100 + number)
            weights = train(setting, here, seed, setting.steps // 2, weights)
            found.append(row_of(setting, here, weights, arm, seed, number))
    return found


def begin_data(setting: Setting, root: Path, labelled: dict[str, list[tuple[int, int]]]) -> None:
    """The training and validation mosaics; of the former only some fields are labelled."""
    if (root / "manifest.csv").exists():
        return
    copy_mosaics(setting.truth, root)
    for mosaic, fields in labelled.items():
        bring(setting, root, mosaic, fields)


def copy_mosaics(source: Path, root: Path) -> None:
    """Links to the mosaics, and the label maps of the validation mosaics."""
    rows: list[dict[str, Any]] = []
    for entry in read_dataset(source).entries[: TRAINED + VALIDATED]:
        for path in (entry.image, entry.label):
            if path is not None and (path == entry.image or entry.split == "val" or source.name == "data"):
                place = root / path.parent.name / path.name
                place.parent.mkdir(parents=True, exist_ok=True)
                if not place.exists():
                    place.write_bytes(path.read_bytes())
        label = f"labels/{entry.label.name}" if entry.label and (root / "labels" / entry.label.name).exists() else None
        rows.append({"mosaic": f"mosaics/{entry.image.name}", "label": label, "split": entry.split})
        rows[-1] |= {"patient": entry.patient, "site": entry.site, "pixel_size_um": PIXEL_UM}
    write_dataset(root, classes=RCM_CLASSES, rows=rows, name="loop", synthetic=True, working_pixel_size_um=PIXEL_UM)


def bring(setting: Setting, root: Path, mosaic: str, fields: Sequence[tuple[int, int]]) -> None:
    """What is labelled, and some fields by the truth, drawn as QuPath writes it, and imported."""
    truth, known = truth_of(setting, mosaic), labels_of(root, mosaic)
    drawn = np.full_like(truth, UNLABELLED) if known is None else known.copy()
    grid = count_fields(truth, PIXEL_UM)
    for row, col in fields:
        box = np.s_[grid.tops[row] : grid.tops[row + 1], grid.lefts[col] : grid.lefts[col + 1]]
        drawn[box] = truth[box]
    path = root.parent / "corrected" / f"{Path(mosaic).stem}.geojson"
    features = [feature(region, RCM_CLASSES) for region in outlines(drawn)]
    write_text(path, json.dumps({"type": "FeatureCollection", "features": features}))
    rcm_cascade("import", path, "--into", root, "--replace")
    again = labels_of(root, mosaic)
    assert again is not None
    assert np.array_equal(again, drawn)


def correct(setting: Setting, arm: str, here: Path, data: Path, checkpoint: Path, seed: int) -> Path:
    """A copy of the data in which more is labelled; the same data where nothing is to be."""
    if arm == "none":
        return data
    root = here / "data"
    if (here / "labelled.json").exists():
        return root
    copy_mosaics(data, root)
    picked = random_fields(setting, seed, checkpoint, data) if arm == "random" else doubted(setting, data, checkpoint)
    for mosaic, fields in picked.items():
        bring(setting, root, mosaic, fields[: setting.fields])
    write_text(here / "labelled.json", json.dumps(picked))
    return root


def annotated(setting: Setting, data: Path, checkpoint: Path) -> Path:
    """The training mosaics, annotated."""
    out = checkpoint.parents[1] / "annotated"
    images = [entry.image for entry in read_dataset(data).entries[:TRAINED]]
    more = ("--backend", "torch", "--label-next", setting.fields)
    rcm_cascade("annotate", *images, "--checkpoint", checkpoint, "--out", out, *more)
    return out


def doubted(setting: Setting, data: Path, checkpoint: Path) -> dict[str, list[tuple[int, int]]]:
    """Fields that `annotate --label-next` names."""
    out, found = annotated(setting, data, checkpoint), {}
    for entry in read_dataset(data).entries[:TRAINED]:
        content = json.loads((out / f"{entry.image.stem}.label_next.geojson").read_text("utf-8"))
        corners = [each["geometry"]["coordinates"][0][0] for each in content["features"]]
        grid = count_fields(truth_of(setting, entry.mosaic), PIXEL_UM)
        found[entry.mosaic] = [
            (grid.tops.tolist().index(top), grid.lefts.tolist().index(left)) for left, top in corners
        ]
    return found


def random_fields(
    setting: Setting, seed: int, checkpoint: Path | None, data: Path | None = None
) -> dict[str, list[tuple[int, int]]]:
    """Random fields that are not labelled yet, of each class as many: of the prediction's, at the start the truth's."""
    rng, found = np.random.default_rng(seed), {}
    out = None if checkpoint is None or data is None else annotated(setting, data, checkpoint)
    for entry in read_dataset(setting.truth if data is None else data).entries[:TRAINED]:
        if out is None:
            labels = truth_of(setting, entry.mosaic)
        else:
            labels = tifffile.imread(out / f"{entry.image.stem}.labels.ome.tif")
        grid = count_fields(labels, PIXEL_UM)
        drawn = Fields(grid.tops, grid.lefts, grid.pixels, rng.random(grid.areas.shape))
        known = None if data is None else labels_of(data, entry.mosaic)
        done = None if known is None else count_fields(known, PIXEL_UM).labelled
        found[entry.mosaic] = drawn.worth_labelling(setting.fields, len(RCM_CLASSES), done)
    return found


def train(setting: Setting, folder: Path, seed: int, steps: int, init: Path | None) -> Path:
    """Trains on the folder's data, or the last that has some, and scores on the truth; gives the checkpoint."""
    data = folder / "data"
    if not data.exists():
        data = setting.out / f"seed{seed}" / "begin" / "data"
    more = [] if init is None else [f"init={init.absolute()}"]
    rcm_cascade(
        "train", "experiment=ablation", "data=folder", f"data.root={data.absolute()}", f"seed={seed}",
        f"run={folder.relative_to('runs') / 'run'}", f"trainer.max_steps={steps}", *more,
    )  # fmt: skip
    checkpoint = folder / "run" / "checkpoints" / "best.ckpt"
    if not (folder / "scored" / "confusions.json").exists():
        rcm_cascade("evaluate", checkpoint, "--data", setting.truth, "--split", "test", "--out", folder / "scored")
    return checkpoint


def row_of(setting: Setting, folder: Path, checkpoint: Path, arm: str, seed: int, number: int) -> dict[str, Any]:
    summary = json.loads((folder / "scored" / "metrics.json").read_text("utf-8"))
    data = folder / "data" if (folder / "data").exists() else setting.out / f"seed{seed}" / "begin" / "data"
    known = [labels_of(data, entry.mosaic) for entry in read_dataset(data).entries[:TRAINED]]
    share = np.mean([(labels != UNLABELLED).mean() for labels in known if labels is not None])
    means = {key: round(summary["mean"][key], 6) for key in ("sensitivity", "specificity", "dice")}
    return {"arm": arm, "seed": seed, "round": number, "labelled_share": round(float(share), 6), **means} | {
        "scored": str((checkpoint.parents[2] / "scored").relative_to(setting.out))
    }


def to_markdown(setting: Setting, rows: Sequence[dict[str, Any]]) -> str:
    """Score against the share that is labelled, and how far the arms are apart."""
    lines = []
    for number in range(setting.rounds + 1):
        here = {arm: [row for row in rows if row["arm"] == arm and row["round"] == number] for arm in ARMS}
        share = np.mean([row["labelled_share"] for row in here["random"]])
        scores = [spread([row["sensitivity"] for row in here[arm]]) for arm in ARMS]
        differences = [difference(setting, here["doubted"], here[other]) if number else "" for other in list(ARMS)[1:]]
        lines.append([str(number), f"{share:.1%}", *scores, *differences])
    heads = ["round", "labelled", *ARMS.values(), "label-next less random", "label-next less none"]
    tested = setting.mosaics - TRAINED - VALIDATED
    return (
        f"Mean sensitivity on {tested} phantoms, densely labelled, after each round; mean ± sd over seeds. {TRAINED} "
        f"phantoms are trained on, of which each round labels {setting.fields} fields of 0.5 mm more. Differences with "
        "95 % intervals over patients and seeds, bold where they leave out zero.\n\n"
        + table(heads, lines, words=0) + "\n"
    )  # fmt: skip


def difference(setting: Setting, ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> str:
    def sums(rows: Sequence[dict[str, Any]]) -> dict[int, NDArray[Any]]:
        return {row["seed"]: by_patient([setting.out / row["scored"]]) for row in rows}

    found = paired_differences(sums(ours), sums(theirs), METRICS["sensitivity"].with_mean)
    return difference_text(found[-1])


def draw(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Score against the share that is labelled, or where nothing is added, that another arm has."""
    figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained", dpi=110)
    last = max(row["round"] for row in rows)
    random = [row for row in rows if row["arm"] == "random"]
    shares = [np.mean([row["labelled_share"] for row in random if row["round"] == n]) for n in range(last + 1)]
    for (arm, name), style in zip(ARMS.items(), ("o-", "s--", "^:"), strict=True):
        scores = [[r["sensitivity"] for r in rows if r["arm"] == arm and r["round"] == n] for n in range(last + 1)]
        means, spreads = [np.mean(s) for s in scores], [np.std(s, ddof=1) if len(s) > 1 else 0 for s in scores]
        axes.errorbar(np.multiply(shares, 100), means, yerr=spreads, fmt=style, color="black", capsize=2, label=name)
    axes.set(xlabel="labelled, % of the training mosaics' area", ylabel="mean sensitivity")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    plt.close(figure)


def truth_of(setting: Setting, mosaic: str) -> NDArray[np.uint8]:
    labels = labels_of(setting.truth, mosaic)
    assert labels is not None
    return labels


def labels_of(root: Path, mosaic: str) -> NDArray[np.uint8] | None:
    entry = next(e for e in read_dataset(root).entries if e.mosaic == mosaic)
    if entry.label is None:
        return None
    height, width = read_image(entry.image).shape
    return read_labels(entry.label, RCM_CLASSES, (height, width))


if __name__ == "__main__":
    run(main)
