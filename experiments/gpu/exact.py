"""Is annotation on this device what one pass over the whole mosaic gives? Usage: exact.py CHECKPOINT.

Prints, for each precision and tile, the share of pixels with the label of one float32 pass, on noise, which is harder
than tissue.
"""

from pathlib import Path
from typing import Final

import numpy as np
import torch

from experiments.script import run
from rcm_cascade.annotate import Annotator, annotate_image
from rcm_cascade.annotate.backends import AnnotationOptions

SHAPE: Final = (1500, 1700)


def main(checkpoint: Path) -> None:
    network = Annotator.load(checkpoint).network.eval()
    device = next(network.parameters()).device
    image = np.random.default_rng(0).integers(0, 255, SHAPE, np.uint8)
    x = torch.as_tensor(image, dtype=torch.float32, device=device)[None, None]
    torch.backends.cudnn.allow_tf32 = False
    with torch.no_grad():
        whole = network.predict((x - x.mean()) / x.std(unbiased=False))[0].argmax(0).byte().cpu().numpy()
    for precision in ("fp32", "bf16"):
        for tile in (None, 256):
            labels = annotate_image(
                network, image, AnnotationOptions(precision=precision, backend="torch", tile=tile)
            ).labels
            print(f"{device} {precision} tile {tile}: {(labels == whole).mean():.6f} of the labels of one fp32 pass")


if __name__ == "__main__":
    run(main)
