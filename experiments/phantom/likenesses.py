"""Four phantoms made to the words by which four real mosaics are described (A to D of the figures in measure.py)."""

import math
from dataclasses import replace
from typing import Any, Final

from rcm_cascade.phantom.people import make_patient
from rcm_cascade.phantom.recipe import PATTERNS, Recipe, make_recipe

SEED, SIZE_UM, PIXEL_UM = 11, 6000.0, 8.0

MESHWORK, RING, NESTED, PATTERNLESS = PATTERNS

WORDS: Final = {
    "A": "A dense carpet of touching, polygonal rings; the rest grey and nearly structureless; dozens of thin black "
    "wrinkles one way, branching, with short bright segments; the bottom fifth out of contact, with contours, bubbles.",
    "B": "Vertical black furrows that widen into spindles; faint ring fields between them; bright lozenges.",
    "C": "Broad bright bands out of focus; black follicle pits; low contrast.",
    "D": "A carpet of large soft grey clods, packed, each with a faint dark outline, between thick dark furrows with "
    "saturated banks.",
}

_PEOPLE: Final[dict[str, dict[str, Any]]] = {
    "A": {
        "wrinkle_direction": math.pi / 4,
        "wrinkle_density": 5.0,
        "wrinkle_width": 0.8,
        "spindles": 0.03,
        "follicles": 0.05,
        "openings": 0.05,
        "gain": 0.75,
        "bead": 1.2,
    },
    "B": {
        "wrinkle_direction": math.pi / 2,
        "wrinkle_density": 3.5,
        "spindles": 0.6,
        "follicles": 0.1,
        "openings": 1.2,
        "gain": 0.85,
        "bead": 0.7,
    },
    "C": {"wrinkle_density": 0.8, "spindles": 0.0, "follicles": 1.6, "openings": 0.1, "contrast": 0.8, "gain": 0.9},
    "D": {"wrinkle_density": 0.8, "wrinkle_width": 1.3, "follicles": 0.05, "openings": 0.05, "gain": 1.2},
}

_MOSAICS: Final[dict[str, dict[str, Any]]] = {
    "A": {"lesion_share": 0.62, "no_contact_share": 0.2, "no_contact_side": math.pi / 2, "furrows": 0.0, "bands": 0.0},
    "B": {"lesion_share": 0.55, "no_contact_share": 0.03, "furrows": 0.25, "bands": 0.01},
    "C": {"lesion_share": 0.6, "no_contact_share": 0.04, "furrows": 0.0, "bands": 0.3},
    "D": {
        "lesion_share": 0.95,
        "no_contact_share": 0.02,
        "furrows": 1.0,
        "banks": 3.0,
        "bands": 0.02,
        "clod_size": 0.95,
    },
}

_FAVOURED: Final = {"A": RING, "B": RING, "C": PATTERNLESS, "D": NESTED}


def likeness(letter: str) -> Recipe:
    """The recipe of a phantom to the words of mosaic ``letter``."""
    index = list(WORDS).index(letter)
    patient = replace(make_patient(SEED, index, 1), hairs=0.0, **_PEOPLE[letter])
    recipe = make_recipe(seed=SEED, index=index, size_um=(SIZE_UM, SIZE_UM), pixel_size_um=PIXEL_UM, patient=patient)
    meshwork, ring, nested, patternless = (2.5 * (pattern == _FAVOURED[letter]) for pattern in PATTERNS)
    bias = (meshwork, ring, nested, patternless)
    return replace(recipe, pattern_bias=bias, motion=0.0, reflections=0.0, **_MOSAICS[letter])
