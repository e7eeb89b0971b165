from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.overview import steps_told


def test_what_a_step_does_is_told_where_it_is_not_the_default() -> None:
    assert steps_told(compose_config([])) == ""
    told = steps_told(compose_config(["trainer.accumulate=3", "data.batch_size=4", "trainer.recompute=true"]))
    assert told.startswith("3 batches a step, 12 patches, ")
    assert told.endswith("; activations are computed again")
    assert "takes minutes" in steps_told(compose_config(["trainer.compile=true"]))
