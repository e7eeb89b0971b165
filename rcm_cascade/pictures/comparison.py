"""A mosaic beside its label maps, as in the paper's Figure 2."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade.classes import ClassTable
from rcm_cascade.pictures.colours import colorize, grey_to_rgb
from rcm_cascade.pictures.figure import Panel, compose
from rcm_cascade.pictures.shrink import shrink_factor, shrink_image, shrink_labels

PANEL_PX: Final = 700
"""Longest side of one panel."""


def comparison(
    image: NDArray[np.uint8],
    truth: NDArray[np.uint8] | None,
    prediction: NDArray[np.uint8],
    classes: ClassTable,
    pixel_size_um: float | None,
    title: str,
    caption: str = "",
) -> Image.Image:
    """A mosaic as in the paper's Figure 2: image, truth with unlabelled yellow, prediction, side by side.

    Args:
        image: ``(H, W)`` uint8.
        truth: ``(H, W)`` uint8 class ids, 255 = unlabelled; ``None`` leaves its panel out.
        prediction: ``(H, W)`` uint8 class ids.
        classes: the class table.
        pixel_size_um: of these arrays, or ``None``.
        title: names the mosaic; opens the caption.
        caption: what else there is to say.

    Raises:
        ValueError: if the shapes differ.
    """
    maps = {"prediction": prediction} if truth is None else {"truth": truth, "prediction": prediction}
    for name, labels in maps.items():
        if labels.shape != image.shape:
            raise ValueError(f"{name} is {labels.shape} and the image {image.shape}; expected one shape (H, W)")
    factor = shrink_factor((image.shape[0], image.shape[1]), PANEL_PX)
    panels = [Panel("Image", grey_to_rgb(shrink_image(image, factor)))]
    panels += [Panel(name.capitalize(), colorize(shrink_labels(m, factor), classes)) for name, m in maps.items()]
    shown = None if pixel_size_um is None else pixel_size_um * factor
    text = f"{title}. {caption}" if caption else title
    return compose(panels, classes, pixel_size_um=shown, caption=text, unlabelled=truth is not None)
