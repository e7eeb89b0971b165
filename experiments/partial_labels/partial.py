"""How much of the area must be labelled inside each mosaic, and must the borders be? The paper's own condition.

Of the labels, those of validation too, dabs are kept, of each class the same share of its area: anywhere (interiors and
borders), or in interiors alone. Scores are of test mosaics' dense truth.
Phantoms, and axon-sem cross-validated over rats where its folder is given. Writes results.csv, table.md and figure.png
into --out; the same command resumes. Usage: python -m experiments.partial_labels.partial [--data FOLDER]
"""

import csv
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import cv2
import matplotlib.pyplot as plt
import numpy as np
import typer
from numpy.typing import NDArray

from experiments.script import by_patient, difference_text, rcm_cascade, refuse_outside_runs, run, spread, table
from rcm_cascade.classes import UNLABELLED
from rcm_cascade.data.formats import read_image
from rcm_cascade.data.labels import read_labels
from rcm_cascade.data.manifest import read_dataset
from rcm_cascade.evaluate.bootstrap import paired_differences
from rcm_cascade.evaluate.metrics import METRICS
from rcm_cascade.files import write_text
from rcm_cascade.pictures.png import save_png

SHARES: Final = (1.0, 0.58, 0.2, 0.05, 0.01)
KINDS: Final = {"any": "interiors and borders", "interior": "interiors only"}
DAB_PX: Final = 12
"""Standard deviation of the noise whose crests are labelled: about the width of a brush."""


@dataclass(frozen=True)
class Data:
    """What is trained on.

    Args:
        name: of the folder.
        root: with all labels.
        margin_px: that interiors keep from a class's border.
        words: of the training command.
        runs: by seed, the overrides of its runs, which together test each patient at most once.
    """

    name: str
    root: Path
    margin_px: int
    words: Sequence[str]
    runs: Mapping[int, Sequence[Sequence[str]]]


def main(
    data: Annotated[Path | None, typer.Option(metavar="FOLDER", help="That holds axon-sem/.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to work in.")] = Path("runs/partial_labels"),
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="On phantoms.")] = 3,
    steps: Annotated[int, typer.Option(metavar="N", min=2, help="On phantoms; on axon-sem two sevenths.")] = 870,
    mosaics: Annotated[int, typer.Option(metavar="N", min=3, help="Phantoms.")] = 48,
    processes: Annotated[int, typer.Option(metavar="N", min=1, help="That train at a time, a core each.")] = 2,
) -> None:
    refuse_outside_runs(out)
    sets = [phantoms(out, mosaics, seeds, steps)]
    if data is not None:
        sets.append(axon_sem(data / "axon-sem", steps * 2 // 7))
    parts, rows = [], []
    for each in sets:
        found = trained(each, out / each.name, processes)
        parts.append(to_markdown(each, found))
        rows += [row for here in found.values() for row in here]
    with (out / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    write_text(out / "table.md", "\n".join(parts))
    draw(out / "figure.png", rows)
    print((out / "table.md").read_text("utf-8"), end="")


def phantoms(out: Path, mosaics: int, seeds: int, steps: int) -> Data:
    """Those of `experiment=ablation`, split as it splits them."""
    root = out / "phantoms"
    if not (root / "manifest.csv").exists():
        rcm_cascade("phantom", root, "--mosaics", mosaics, "--seed", 5, "--sites", 3, "--pixel-size", 8)
    words = ("experiment=ablation", f"trainer.max_steps={steps}")
    return Data("phantom", root, 12, words, {seed: [[f"seed={seed}"]] for seed in range(seeds)})


def axon_sem(root: Path, steps: int) -> Data:
    """As in experiments/axon_sem, one seed."""
    words = ("data.patch=128 px", "data.batch_size=4", "optim.lr=3e-3", "optim.ema=0.98", f"trainer.max_steps={steps}")
    folds = [[f"data.fold={fold}", "data.folds=4"] for fold in range(4)]
    return Data("axon-sem", root, 2, words, {0: folds})


def trained(data: Data, out: Path, processes: int) -> dict[tuple[str, float], list[dict[str, Any]]]:
    """Every condition with every seed: what is labelled, and where the scores lie."""
    jobs: list[Callable[[], dict[str, Any]]] = []
    for kind in KINDS:
        for share in SHARES:
            folder = out / f"{kind}-{share:g}"
            kept = mask_data(data, folder / "data", share, kind == "interior")
            jobs += [
                lambda folder=folder, kept=kept, kind=kind, share=share, seed=seed: (  # type: ignore[misc]
                    {"data": data.name, "kind": kind, "share": share, "labelled": kept} | one_run(data, folder, seed)
                )
                for seed in data.runs
            ]
    with ThreadPoolExecutor(processes) as pool:
        rows = list(pool.map(lambda job: job(), jobs))
    found: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["kind"], row["share"]), []).append(row)
    return found


def mask_data(data: Data, root: Path, share: float, interior: bool) -> float:
    """Writes the mosaics with a part of the labels; gives the share of the mosaics' area that is labelled."""
    record = root / "labelled.json"
    if record.exists():
        return float(json.loads(record.read_text("utf-8")))
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(data.root, root)
    source, shares = read_dataset(root), []
    for number, entry in enumerate(source.entries):
        assert entry.label is not None
        height, width = read_image(entry.image).shape
        labels = read_labels(entry.label, source.classes, (height, width))
        kept = dabs(labels, share, data.margin_px if interior else 0, number)
        save_png(kept, entry.label)
        shares.append((kept != UNLABELLED).mean())
    write_text(record, json.dumps(float(np.mean(shares))))
    return float(np.mean(shares))


def dabs(labels: NDArray[np.uint8], share: float, margin_px: int, seed: int) -> NDArray[np.uint8]:
    """Keeps a share of each class's pixels, in dabs, or as many as its interior has."""
    noise = np.random.default_rng(seed).standard_normal(labels.shape).astype(np.float32)
    height = cv2.GaussianBlur(noise, (0, 0), DAB_PX)
    kept = np.full_like(labels, UNLABELLED)
    for id_ in np.unique(labels[labels != UNLABELLED]):
        own = labels == id_
        allowed = own
        if margin_px:
            allowed = cv2.distanceTransform(own.view(np.uint8), cv2.DIST_L2, 5) > margin_px
        wanted = min(round(share * int(own.sum())), int(allowed.sum()))
        if wanted:
            crest = np.sort(height[allowed])[-wanted]
            kept[allowed & (height >= crest)] = id_
    return kept


def one_run(data: Data, folder: Path, seed: int) -> dict[str, Any]:
    """Trains on what is labelled and scores on dense truth, every fold of it."""
    scored, means = [], []
    for number, overrides in enumerate(data.runs[seed]):
        here = folder / f"seed{seed}" / f"{number}"
        rcm_cascade(
            "train", *data.words, "data=folder", f"data.root={(folder / 'data').absolute()}", *overrides,
            f"run={here.relative_to('runs') / 'run'}",
        )  # fmt: skip
        if not (here / "scored" / "confusions.json").exists():
            checkpoint = here / "run" / "checkpoints" / "best.ckpt"
            rcm_cascade("evaluate", checkpoint, "--data", data.root, "--split", "test", "--out", here / "scored")
        scored.append(here / "scored")
        means.append(json.loads((here / "scored" / "metrics.json").read_text("utf-8"))["mean"])
    row: dict[str, Any] = {key: round(float(np.mean([m[key] for m in means])), 6) for key in ("sensitivity", "dice")}
    return {"seed": seed} | row | {"scored": ";".join(map(str, scored))}


def to_markdown(data: Data, found: Mapping[tuple[str, float], Sequence[Mapping[str, Any]]]) -> str:
    """One table of a data set."""
    reference = found["any", 1.0]
    lines = []
    for (kind, _), rows in found.items():
        difference = "" if rows is reference else difference_text(difference_of(rows, reference))
        values = [spread([row[key] for row in rows]) for key in ("sensitivity", "dice")]
        lines.append([KINDS[kind], f"{rows[0]['labelled']:.1%}", *values, difference])
    heads = ["labels", "labelled", "mean sensitivity", "Dice", "Δ sensitivity"]
    return (
        f"{data.name}: mean over classes, scored on dense truth; {len(reference)} seeds. Δ: to all labels, with 95 % "
        "intervals over patients and seeds, bold where they leave out zero.\n\n" + table(heads, lines) + "\n"
    )  # fmt: skip


def difference_of(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> Any:  # noqa: ANN401
    sums = [
        {row["seed"]: by_patient([Path(folder) for folder in row["scored"].split(";")]) for row in rows}
        for rows in (ours, theirs)
    ]
    return paired_differences(sums[0], sums[1], METRICS["sensitivity"].with_mean)[-1]


def draw(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    names = list(dict.fromkeys(row["data"] for row in rows))
    figure, axes = plt.subplots(
        1, len(names), figsize=(4.6 * len(names), 3.6), layout="constrained", dpi=110, squeeze=False
    )
    for ax, name in zip(axes[0], names, strict=True):
        for (kind, what), style in zip(KINDS.items(), ("o-", "s--"), strict=True):
            own = [row for row in rows if row["data"] == name and row["kind"] == kind]
            shares = sorted({row["labelled"] for row in own})
            scores = [[row["sensitivity"] for row in own if row["labelled"] == share] for share in shares]
            spreads = [np.std(s, ddof=1) if len(s) > 1 else 0 for s in scores]
            means = [np.mean(s) for s in scores]
            ax.errorbar(np.multiply(shares, 100), means, yerr=spreads, fmt=style, color="black", capsize=2, label=what)
        ax.set(xscale="log", xlabel="labelled, % of the area", ylabel="mean sensitivity", title=name)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0][0].legend(frameon=False)
    figure.savefig(path)
    plt.close(figure)


if __name__ == "__main__":
    run(main)
