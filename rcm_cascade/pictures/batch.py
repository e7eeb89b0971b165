"""A picture of a batch before and after augmentation, with labels."""

from PIL import Image

from rcm_cascade.classes import ClassTable
from rcm_cascade.data.augment import augment, centre_crop
from rcm_cascade.data.datamodule import MosaicDataModule
from rcm_cascade.pictures.colours import blend
from rcm_cascade.pictures.figure import Panel, compose


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
