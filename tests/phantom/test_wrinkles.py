from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rcm_cascade.phantom.people import make_patient
from rcm_cascade.phantom.recipe import Recipe, make_recipe
from rcm_cascade.phantom.wrinkles import STEP_UM, THICK_UM, Line, draw_wrinkles


def recipe(side_um: float = 6000.0, furrows: float = 0.0, **patient: Any) -> Recipe:
    plain = {"wrinkle_direction": 0.6, "wrinkle_density": 3.0, "wrinkle_width": 1.0, "spindles": 0.0}
    person = replace(make_patient(0, 0, 1), **{**plain, **patient})
    drawn = make_recipe(seed=0, index=0, size_um=(side_um, side_um), pixel_size_um=8, patient=person)
    return replace(drawn, furrows=furrows)


def draw(seed: int = 0, **dials: Any) -> list[Line]:
    return draw_wrinkles(recipe(**dials), np.random.default_rng(seed))


def inside(line: Line, side_um: float = 6000.0) -> int:
    return int(((line.points >= 0) & (line.points < side_um)).all(axis=1).sum())


@pytest.mark.parametrize("density", [1.0, 4.0])
def test_the_mosaic_holds_its_length_of_line(density: float) -> None:
    lengths = [sum(inside(line) for line in draw(seed, wrinkle_density=density)) * STEP_UM / 1000 for seed in range(4)]
    assert np.mean(lengths) / 36 == pytest.approx(density, rel=0.25)


def test_a_small_mosaic_is_crossed_by_as_many_lines_as_a_part_of_a_large_one() -> None:
    few = [draw(seed, side_um=1000.0) for seed in range(40)]
    length = np.mean([sum(inside(line, 1000.0) for line in lines) * STEP_UM / 1000 for lines in few])
    assert length == pytest.approx(3.0, rel=0.3)


@pytest.mark.parametrize("direction", [0.0, 0.8, np.pi / 2])
def test_lines_run_one_way(direction: float) -> None:
    headings = []
    for line in draw(wrinkle_direction=direction):
        down, right = line.points[-1] - line.points[0]
        headings.append(np.arctan2(down, right) - direction)
    away = np.angle(np.exp(1j * np.array(headings)))
    assert np.abs(away).mean() < 0.35
    assert away.std() > 0.05


def test_lines_fork() -> None:
    lines = draw()
    starts = np.array([line.points[0] for line in lines])
    tied = [
        min(float(np.linalg.norm(other.points - start, axis=1).min()) for other in lines if other is not line) < 6
        for start, line in zip(starts, lines, strict=True)
    ]
    assert 0.25 < np.mean(tied) < 0.75


def test_only_spindles_and_furrows_are_thick() -> None:
    def thick(**dials: Any) -> float:
        lines = draw(**dials)
        return float(np.mean(np.concatenate([line.width > THICK_UM for line in lines])))

    assert thick() < 0.03
    assert 0.05 < thick(spindles=1.0) < 0.4
    assert thick(furrows=0.8) > 3 * thick() + 0.02
    spindled = draw(spindles=1.0)
    assert max(len(line.wide_stretches()) for line in spindled) >= 2
    assert all(part.width.min() > THICK_UM for line in spindled for part in line.wide_stretches())


def test_no_line_at_all_can_be_drawn() -> None:
    assert draw(wrinkle_density=0.0) == []
