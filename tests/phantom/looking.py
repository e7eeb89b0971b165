"""Textures drawn alone, and what is measured in them."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rcm_cascade.phantom.bench import Bench
from rcm_cascade.phantom.fields import Field, Grid, noise
from rcm_cascade.phantom.patterns import DARKEST, PAINTERS
from rcm_cascade.phantom.people import make_patient
from rcm_cascade.phantom.recipe import Recipe, make_recipe
from rcm_cascade.phantom.tile import grain_tile, honeycomb_tile
from rcm_cascade.phantom.window import Window

SIZE_UM = (2400.0, 2400.0)
GRID = Grid.covering(SIZE_UM, 4.0)


def recipe(deformed_meshwork: float = 0.3, clod_size: float = 0.5) -> Recipe:
    patient = replace(make_patient(0, 0, 1), scale=1.0, bead=1.0)
    drawn = make_recipe(seed=0, index=0, size_um=SIZE_UM, pixel_size_um=8, patient=patient)
    return replace(drawn, deformed_meshwork=deformed_meshwork, clod_size=clod_size)


def bench(seed: int = 0, one: Recipe | None = None) -> Bench:
    rng = np.random.default_rng(seed)
    return Bench(
        recipe=one or recipe(),
        rng=rng,
        scale=1.0,
        grain=grain_tile(rng),
        honeycomb=honeycomb_tile(rng),
        clumps=noise(rng, SIZE_UM, 28),
        haze=noise(rng, SIZE_UM, 160),
        where=Field(np.ones((1, 1), np.float32), Grid(1, 1, SIZE_UM[0])),
    )


def texture(class_id: int, seed: int = 0, one: Recipe | None = None) -> NDArray[np.float64]:
    """One tissue over 2.4 mm, averaged to 8 µm, ``(300, 300)``."""
    drawn = np.maximum(PAINTERS[class_id](bench(seed, one))(Window.whole(GRID)), DARKEST)
    coarse: NDArray[np.float64] = drawn.reshape(300, 2, 300, 2).mean((1, 3)).astype(np.float64)
    return coarse


def skewness(values: NDArray[np.float64]) -> float:
    away = (values - values.mean()) / values.std()
    return float((away**3).mean())
