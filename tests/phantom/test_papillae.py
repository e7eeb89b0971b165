import numpy as np
import pytest

from tests.phantom.looking import recipe, skewness, texture

MESHWORK, RING, NON_LESION = 2, 3, 0


def test_rims_are_bright_and_holes_are_dark() -> None:
    ring, mesh = texture(RING), texture(MESHWORK, one=recipe(deformed_meshwork=0.0))
    assert skewness(ring) > 0.8
    assert skewness(mesh) < 0.3
    assert np.percentile(mesh, 5) < 0.45 * np.median(mesh)


def test_deformed_meshwork_fades_and_brightens_at_some_edges() -> None:
    regular, deformed = (texture(MESHWORK, one=recipe(deformed_meshwork=share)) for share in (0.0, 1.0))
    assert deformed.std() / deformed.mean() < 0.95 * regular.std() / regular.mean()
    assert skewness(deformed) > skewness(regular) + 0.2


@pytest.mark.parametrize("share", [-1.0, 0.0, 1.0, 2.0])
def test_any_share_of_deformed_meshwork_can_be_drawn(share: float) -> None:
    assert np.isfinite(texture(MESHWORK, one=recipe(deformed_meshwork=share))).all()


def test_normal_skin_is_fainter_than_rings() -> None:
    faint, ring = (
        np.mean([texture(class_id, seed).std() / texture(class_id, seed).mean() for seed in range(3)])
        for class_id in (NON_LESION, RING)
    )
    assert faint < 0.85 * ring
