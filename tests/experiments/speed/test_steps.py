import copy
from dataclasses import replace

import pytest
import torch

from experiments.speed import steps
from experiments.speed.steps import NAIVE, Form, Step, begun, forms
from rcm_cascade.data.datamodule import Batch, prepare
from tests.experiments.speed.factories import CPU, PATCH, small_datamodule, small_module

pytestmark = pytest.mark.usefixtures("one_thread")

OURS = Form("ours")


@pytest.fixture(scope="module")
def batch() -> Batch:
    found = prepare(small_datamodule().example(4), PATCH)
    assert found["image"].std() > 0.3
    return found


def weights(step: Step) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in step.module.network.parameters()])


def test_every_form_takes_the_same_steps(batch: Batch) -> None:
    module = small_module()
    variants = [OURS, NAIVE, replace(OURS, channels_last=False), replace(OURS, fused=False)]
    taken = [Step(form, module, batch, 1) for form in variants]
    start = weights(taken[0]).clone()

    losses = [[float(step.once()) for _ in range(3)] for step in taken]

    assert losses[0][2] < losses[0][0]
    for step, found in zip(taken[1:], losses[1:], strict=True):
        assert found == pytest.approx(losses[0], rel=1e-3)
        assert (weights(step) - weights(taken[0])).abs().max() < 1e-2 * (weights(step) - start).abs().max()


def test_a_form_is_what_it_says(batch: Batch) -> None:
    ours, naive = Step(OURS, small_module(), batch, 1), Step(NAIVE, small_module(), batch, 1)

    def layout(step: Step) -> bool:
        weight = next(p for p in step.module.network.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1)
        return bool(weight.is_contiguous(memory_format=torch.channels_last))

    assert layout(ours)
    assert not layout(naive)
    assert all(group["fused"] for group in ours.optimiser.param_groups)
    assert not any(group["fused"] or group["foreach"] for group in naive.optimiser.param_groups)
    assert [g["weight_decay"] for g in naive.optimiser.param_groups] == [1e-2, 0.0]


def test_bf16_rounds(batch: Batch) -> None:
    exact, rounded = (float(Step(replace(OURS, bf16=b), small_module(), batch, 1).once()) for b in (False, True))
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.05)


def test_the_module_keeps_its_weights(batch: Batch) -> None:
    module = small_module()
    before = copy.deepcopy(module.state_dict())

    Step(OURS, module, batch, 1).once()

    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_seconds_are_of_one_step(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    step, times = Step(OURS, small_module(), batch, 4), iter([1.0, 9.0])
    taken: list[int] = []
    monkeypatch.setattr(steps, "stopwatch", lambda device: next(times))
    monkeypatch.setattr(step, "once", lambda: taken.append(1))

    assert step() == 2.0
    assert len(taken) == 4


def test_forms_of_each_machine() -> None:
    gpu = torch.device("cuda")

    def names(device: torch.device, bf16: bool, has_bf16: bool, compiled: bool) -> list[str]:
        return [form.name.split(":")[0] for form in forms(device, bf16, has_bf16, compiled)]

    plain = ["naive", "ours", "ours in NCHW", "ours with AdamW unfused"]
    assert names(CPU, False, False, False) == plain
    assert names(CPU, True, True, True) == [*plain, "ours in float32", "ours, compiled"]
    assert names(CPU, False, True, False) == [*plain, "ours in bf16"]
    large = forms(CPU, False, False, False, channels_last=False)
    assert [(form.name, form.channels_last) for form in large[1:3]] == [("ours", False), ("ours in NHWC", True)]
    on_gpu = names(gpu, True, True, True)
    assert {"naive with TF32", "ours, compiled, CUDA graphs"} < set(on_gpu)
    assert len(set(on_gpu)) == len(on_gpu)
    assert all(form.bf16 for form in forms(gpu, True, True, True) if form.name == "ours, compiled")
    compiling = forms(CPU, False, False, True, compiles=True)
    assert [form.name for form in compiling if not form.compiled] == [NAIVE.name, "ours, not compiled"]


def test_what_cannot_begin_says_why_in_one_line() -> None:
    def broken() -> None:
        raise RuntimeError("no compiler\nand a page of its output")

    assert begun(broken, CPU) == "RuntimeError: no compiler"
    assert begun(lambda: None, CPU) is None


def test_a_gpu_s_forms_begin_until_their_graphs_are_played_and_warm_up_each_round(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    def fails_when_played() -> None:
        taken.append(1)
        if len(taken) == 3:
            raise RuntimeError("out of memory")

    assert begun(fails_when_played, CPU) is None
    taken.clear()
    assert begun(fails_when_played, torch.device("cuda")) == "RuntimeError: out of memory"

    step, times = Step(OURS, small_module(), batch, 4), iter([1.0, 9.0])
    step.device = torch.device("cuda")
    taken.clear()
    monkeypatch.setattr(steps, "stopwatch", lambda device: next(times))
    monkeypatch.setattr(step, "once", lambda: taken.append(1))
    assert step() == 2.0
    assert len(taken) == 5


@pytest.mark.slow
def test_a_compiled_step_is_the_same_step(batch: Batch) -> None:
    compiled, eager = (Step(replace(OURS, compiled=c), small_module(), batch, 1) for c in ("default", None))
    assert begun(compiled.once, CPU) is None
    eager.once()
    assert float(compiled.once()) == pytest.approx(float(eager.once()), rel=1e-3)
    assert not any("_orig_mod" in key for key in compiled.module.state_dict())
