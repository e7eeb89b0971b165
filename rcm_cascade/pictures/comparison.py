"""Figures of images beside their label maps: a mosaic, as in the paper's Figure 2, and a batch."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rcm_cascade.classes import ClassTable
from rcm_cascade.data.augment import augment, centre_crop
from rcm_cascade.data.datamodule import MosaicDataModule
from rcm_cascade.pictures.figure import Panel, compose
from rcm_cascade.pictures.maps import blend, colorize, grey_to_rgb, shrink_factor, shrink_image, shrink_labels

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
    """
    maps = {"prediction": prediction} if truth is None else {"truth": truth, "prediction": prediction}
    factor = shrink_factor((image.shape[0], image.shape[1]), PANEL_PX)
    panels = [Panel("Image", grey_to_rgb(shrink_image(image, factor)))]
    panels += [Panel(name.capitalize(), colorize(shrink_labels(m, factor), classes)) for name, m in maps.items()]
    shown = None if pixel_size_um is None else pixel_size_um * factor
    text = f"{title}. {caption}" if caption else title
    return compose(panels, classes, pixel_size_um=shown, caption=text, unlabelled=truth is not None)


def batch_picture(
    datamodule: MosaicDataModule, classes: ClassTable, pixel_size_um: float | None, count: int = 4
) -> Image.Image:
    """Patches of the first epoch: as read in the upper row, as trained on in the lower.

    Args:
        datamodule: to draw from.
        classes: of its labels.
        pixel_size_um: of the working grid; None: a scale bar in px.
        count: patches shown.
    """
    batch = datamodule.example(count)
    patch = datamodule.arguments.geometry.patch
    before = centre_crop(batch["image"], patch), centre_crop(batch["labels"], patch)
    after = augment(batch["image"], batch["labels"], batch["augment"], patch)
    times = max(1, 200 // patch)  # small patches are enlarged, so that their pixels can be judged
    panels = []
    for when, (images, labels) in (("as read", before), ("augmented", after)):
        for i, image in enumerate(images.float().round().clamp(0, 255).byte().numpy()):
            rgb = blend(image, labels[i].numpy(), classes, 0.3)
            panels.append(Panel(f"{when} {i + 1}", rgb.repeat(times, axis=0).repeat(times, axis=1)))
    size = pixel_size_um / times if pixel_size_um else None
    caption = "Patches of one batch before and after augmentation; colours mark labelled pixels."
    return compose(panels, classes, pixel_size_um=size, caption=caption, unlabelled=False, columns=len(panels) // 2)
