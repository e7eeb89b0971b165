"""The small synthetic examples in the reader's page: of each pattern the 0.5 mm that are most of it.

Writes rcm_cascade/review/assets/examples. Usage: python -m experiments.review.examples
"""

import tempfile
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from PIL import Image

from experiments.script import rcm_cascade, run
from rcm_cascade.annotate.fields import count_fields
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.data.formats import read_image
from rcm_cascade.data.labels import read_labels
from rcm_cascade.data.manifest import read_dataset

PIXEL_UM: Final = 2.5
SHOWN_PX: Final = 192


def main(
    out: Annotated[Path, typer.Option(metavar="DIR")] = Path("rcm_cascade/review/assets/examples"),
    seed: Annotated[int, typer.Option(metavar="S")] = 71,
) -> None:
    best: dict[int, tuple[float, Image.Image]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "phantoms"
        rcm_cascade("phantom", root, "--mosaics", 6, "--size-mm", 4, 4, "--pixel-size", PIXEL_UM, "--seed", seed)
        for entry in read_dataset(root).entries:
            assert entry.label is not None
            image = read_image(entry.image)
            labels = read_labels(entry.label, RCM_CLASSES, (image.shape[0], image.shape[1]))
            fields = count_fields(labels, PIXEL_UM)
            shares = fields.pixels / fields.areas.max()
            for class_ in RCM_CLASSES.classes:
                row, col = np.unravel_index(int(shares[..., class_.id].argmax()), fields.areas.shape)
                share = float(shares[row, col, class_.id])
                if share > best.get(class_.id, (0.0, None))[0]:
                    box = np.s_[fields.tops[row] : fields.tops[row + 1], fields.lefts[col] : fields.lefts[col + 1]]
                    best[class_.id] = share, Image.fromarray(image[box])
    out.mkdir(parents=True, exist_ok=True)
    for class_ in RCM_CLASSES.classes:
        share, picture = best[class_.id]
        picture.resize((SHOWN_PX, SHOWN_PX)).save(out / f"{class_.name}.jpg", quality=80)
        print(f"{class_.name}: {share:.0%} of the field")


if __name__ == "__main__":
    run(main)
