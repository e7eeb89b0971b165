"""What do the phantoms look like? Each pattern at three pixel sizes, and four whole mosaics with their labels.

Writes patterns and mosaics as .jpg into runs/phantom-sheet. Usage: python experiments/phantom/sheet.py
"""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt, gaussian_filter

from experiments.phantom.likenesses import WORDS, likeness
from experiments.phantom.texture import FIELD_UM
from experiments.script import run
from rcm_cascade.classes import RCM_CLASSES
from rcm_cascade.files import written_whole
from rcm_cascade.phantom.generate import Phantom, generate
from rcm_cascade.phantom.people import make_patient
from rcm_cascade.phantom.recipe import PATTERNS, Recipe, make_recipe
from rcm_cascade.pictures.figure import Panel, compose, scale_bar
from rcm_cascade.pictures.maps import colorize, grey_to_rgb

OUT: Final = Path("runs/phantom-sheet")
SEED, SITES = 11, 3
PIXEL_SIZES_UM: Final = (0.5, 2.0, 8.0)
SIZE_UM: Final = 2600.0
CROP: Final = 320  # px
GAP, LINE = 8, 24
CANDIDATES: Final = 6
JPEG_BYTES: Final = 1_000_000

ARTIFACT: Final = 1
CLEAR: Final = {"no_contact_share": 0.0, "furrows": 0.0, "bands": 0.0, "motion": 0.0, "labelled_share": 0.85}
"""Changes to a recipe after which little but wrinkles hides the tissue."""


@dataclass(frozen=True)
class Look:
    """A row of the sheet.

    Args:
        name: as the sheet says it.
        class_id: of the place that is shown.
        changes: to the recipe drawn, so that the class has a wide field of this look.
    """

    name: str
    class_id: int
    changes: dict[str, Any]


def _lesion(name: str, class_id: int, **changes: float) -> Look:
    bias = tuple(2.5 * (pattern == class_id) for pattern in PATTERNS)
    return Look(name, class_id, {**CLEAR, "lesion_share": 0.96, "pattern_bias": bias, **changes})


LOOKS: Final = (
    _lesion("ring", 3),
    _lesion("meshwork", 2, deformed_meshwork=0.0),
    _lesion("meshwork, deformed", 2, deformed_meshwork=1.0),
    _lesion("nested, small", 4, clod_size=0.0),
    _lesion("nested, large", 4, clod_size=1.0),
    _lesion("patternless", 5),
    Look("non-lesion", 0, {**CLEAR, "lesion_share": 0.1}),
    Look("artifact", ARTIFACT, {"no_contact_share": 0.3}),
)


def draw_recipe(look: Look, index: int) -> Recipe:
    """The recipe of patient ``index``, changed for the look, at the coarsest pixel size."""
    size, patient = (SIZE_UM, SIZE_UM), make_patient(SEED, index, SITES)
    recipe = make_recipe(seed=SEED, index=index, size_um=size, pixel_size_um=PIXEL_SIZES_UM[-1], patient=patient)
    return replace(recipe, **look.changes)


def find_place(look: Look, phantom: Phantom) -> tuple[float, float, float]:
    """How good the best place is, in µm of pure tissue around it, and where, µm from the top left corner.

    The darkest and brightest fields are passed over. Artifacts are the better the more there is to see: theirs is the
    place where the grey level varies most.
    """
    pitch = PIXEL_SIZES_UM[-1]
    inside = phantom.truth == look.class_id
    grey, window = phantom.image.astype(np.float64), 150 / pitch
    local = gaussian_filter(grey, window)
    if look.class_id == ARTIFACT:
        share = gaussian_filter(inside.astype(np.float64), window)
        varies = np.sqrt(np.maximum(gaussian_filter(grey**2, window) - local**2, 0))
        depth = np.where(inside & (share > 0.7), varies, 0)
    else:
        inside &= phantom.labels == look.class_id  # thin wrinkles are left out of these
        depth = distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] * pitch
        typical = np.median(local[inside]) if inside.any() else 0
        depth[(local < 0.8 * typical) | (local > 1.5 * typical)] = 0
    away = (np.arange(len(depth)) + 0.5) * pitch % FIELD_UM
    near = np.minimum(away, FIELD_UM - away) < CROP * PIXEL_SIZES_UM[0] / 2
    depth = np.where(near[:, None] | near, 0, depth)  # no seam in the finest crop
    margin = round(CROP * PIXEL_SIZES_UM[1] / 2 / pitch)  # so that the middle pixel size's crop lies inside
    middle = depth[margin:-margin, margin:-margin]
    row, column = np.unravel_index(int(middle.argmax()), middle.shape)
    return float(middle.max()), (int(row) + margin + 0.5) * pitch, (int(column) + margin + 0.5) * pitch


def crops(look: Look) -> list[NDArray[np.uint8]]:
    """The same skin at each pixel size, ``(CROP, CROP, 3)`` uint8, with scale bar and the next finer crop's frame."""
    first = LOOKS.index(look) * CANDIDATES  # each look on people of its own
    recipes = [draw_recipe(look, index) for index in range(first, first + CANDIDATES)]
    places = [find_place(look, generate(recipe)) for recipe in recipes]
    best = int(np.argmax([place[0] for place in places]))
    _, *centre = places[best]
    result = []
    for number, pixel in enumerate(PIXEL_SIZES_UM):
        image = generate(replace(recipes[best], pixel_size_um=pixel)).image
        corner = [min(max(0, round(at / pixel) - CROP // 2), image.shape[0] - CROP) for at in centre]
        part = image[corner[0] : corner[0] + CROP, corner[1] : corner[1] + CROP]
        picture = Image.fromarray(grey_to_rgb(part))
        draw = ImageDraw.Draw(picture)
        length, label = scale_bar(CROP, pixel)
        draw.rectangle((8, CROP - 14, 8 + length, CROP - 10), fill="white", outline="black")
        draw.text((8, CROP - 18), label, fill="white", font=_font(14), anchor="ls", stroke_width=2, stroke_fill="black")
        if number:
            half = CROP * PIXEL_SIZES_UM[number - 1] / pixel / 2
            row, column = (at / pixel - edge for at, edge in zip(centre, corner, strict=True))
            draw.rectangle((column - half, row - half, column + half, row + half), outline="#ffe119")
        result.append(np.asarray(picture))
    return result


def pattern_sheet() -> Image.Image:
    """All looks in two blocks of rows, at three pixel sizes each, every crop at its own pixels."""
    across, rows = len(PIXEL_SIZES_UM), -(-len(LOOKS) // 2)
    block = across * (CROP + GAP) + 2 * GAP
    sheet = Image.new("RGB", (2 * block, rows * (CROP + LINE + GAP) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for number, look in enumerate(LOOKS):
        top = GAP + number % rows * (CROP + LINE + GAP)
        for column, (pixel, crop) in enumerate(zip(PIXEL_SIZES_UM, crops(look), strict=True)):
            left = GAP + number // rows * block + column * (CROP + GAP)
            draw.text((left, top + LINE - 6), f"{look.name}, {pixel:g} µm", fill="black", font=_font(16), anchor="ls")
            sheet.paste(Image.fromarray(crop), (left, top + LINE))
    return sheet


def mosaic_sheet() -> Image.Image:
    """Four mosaics to the words of the real ones, each with its truth (above) and painted labels (below)."""
    panels = []
    for letter in WORDS:
        phantom = generate(likeness(letter))
        maps = [colorize(labels[::2, ::2], RCM_CLASSES) for labels in (phantom.truth, phantom.labels)]
        panels.append(Panel(f"to the words of {letter}", np.hstack([grey_to_rgb(phantom.image), np.vstack(maps)])))
    caption = (
        "Phantoms, no patients. Left: 6 × 6 mm at 8 µm, and the scale bar is theirs. Right, at half the size: above, "
        "the class of every pixel; below, what is painted."
    )
    return compose(panels, RCM_CLASSES, pixel_size_um=8, caption=caption, columns=2)


def save(picture: Image.Image, path: Path) -> None:
    """As .jpg of the best quality that is small enough for a repository."""
    for quality in range(92, 20, -4):
        buffer = io.BytesIO()
        picture.save(buffer, format="JPEG", quality=quality)
        if buffer.tell() <= JPEG_BYTES:
            break
    with written_whole(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"), size)


def main() -> None:
    cv2.setNumThreads(1)
    save(mosaic_sheet(), OUT / "mosaics.jpg")
    save(pattern_sheet(), OUT / "patterns.jpg")
    print(f"{OUT}: mosaics.jpg and patterns.jpg")


if __name__ == "__main__":
    run(main)
