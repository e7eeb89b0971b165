import numpy as np
import pytest

from experiments.speed.training_peers import MonaiPipeline, transforms
from rcm_cascade.data.augment import Augmentation
from tests.experiments.speed.factories import CPU, PATCH, small_datamodule

pytestmark = pytest.mark.usefixtures("one_thread")

pytest.importorskip("monai")


@pytest.mark.parametrize("metadata", [True, False])
def test_monai_draws_as_many_patches_of_the_same_size(metadata: bool) -> None:
    from monai.data import MetaTensor, get_track_meta

    pipeline = MonaiPipeline(small_datamodule(), 3, CPU, metadata)

    assert pipeline() > 0
    assert pipeline.patches == 12
    assert get_track_meta(), "as it was"
    batches = list(pipeline.loader) if metadata else []
    for batch in batches:
        assert batch["image"].shape == batch["label"].shape == (4, 1, PATCH, PATCH)
        assert isinstance(batch["image"], MetaTensor)
    if metadata:
        assert len(batches) == 3
        means = [float(b["image"].mean()) for b in batches]
        assert len(set(means)) == 3
        assert abs(np.mean(means)) < 1, "normalised"


def test_labels_stay_classes_and_the_image_turns_with_them() -> None:
    image = np.zeros((1, 96, 96), np.uint8)
    image[:, :, 48:] = 200
    labels = np.where(image > 0, 2, 255).astype(np.uint8)
    pipeline = transforms(Augmentation(intensity_shift=0), 60, PATCH, 50.0)
    pipeline.set_random_state(seed=3)

    mixed = 0
    for _ in range(10):
        patch = pipeline({"image": image, "label": labels})
        found, grey = patch["label"].numpy(), patch["image"].numpy()
        assert found.shape == (1, PATCH, PATCH)
        assert set(np.unique(found).tolist()) <= {2.0, 255.0}
        if 0.2 < (found == 2).mean() < 0.8:
            mixed += 1
            assert grey[found == 2].mean() > grey[found == 255].mean() + 1
    assert mixed


def test_the_ranges_are_ours() -> None:
    found = {type(t).__name__: t for t in transforms(Augmentation(flip=0.3), 60, PATCH, 50.0).transforms}

    affine = found["RandAffined"].rand_affine.rand_affine_grid
    assert affine.rotate_range == pytest.approx((np.pi,))
    assert affine.shear_range == pytest.approx((np.tan(np.radians(10)),) * 2)
    assert found["RandFlipd"].prob == 0.3
    assert found["RandShiftIntensityd"].shifter.offsets == pytest.approx((-0.51, 0.51))
