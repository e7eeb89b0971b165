from experiments.starter.export import read_origin
from rcm_cascade.annotate.starter import WHAT_IT_IS, starter_path
from rcm_cascade.models.checkpoint import load_checkpoint

BYTES = 8_000_000


def test_the_starter_is_small_synthetic_and_says_where_it_came_from() -> None:
    path = starter_path()
    assert path.stat().st_size <= BYTES
    header = load_checkpoint(path).header
    assert header.synthetic
    assert header.dataset == "phantom"
    assert set(header.split.values()) == {"train", "val", "test"}
    assert set(read_origin(path)) == {"commit", "checkpoint_sha256"}


def test_its_card_lies_beside_it_and_says_what_it_is() -> None:
    assert WHAT_IT_IS in starter_path().with_name("README.md").read_text("utf-8").lower().replace("\n", " ")
