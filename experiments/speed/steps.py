"""Forms of a training step: the naive one, ours, and ours with one means switched off or on."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch

from experiments.speed.machine import stopwatch
from rcm_cascade.data.datamodule import Batch
from rcm_cascade.errors import reason
from rcm_cascade.training.module import CascadeModule
from rcm_cascade.training.passes import compiler_warnings


@dataclass(frozen=True)
class Form:
    """How a step is computed.

    Args:
        name: as the table shows it.
        channels_last: weights, and so activations, as NHWC rather than NCHW; a grey image is both.
        fused: AdamW in one kernel, and clipping of all gradients at once, rather than as PyTorch does by itself.
        bf16: under autocast.
        tf32: convolutions of float32 in TF32; on a GPU.
        compiled: the mode of `torch.compile`, in place; None: eager.
    """

    name: str
    channels_last: bool = True
    fused: bool = True
    bf16: bool = False
    tf32: bool = True
    compiled: str | None = None


NAIVE = Form("naive: NCHW, float32, eager, AdamW unfused", channels_last=False, fused=False, tf32=False)


def forms(
    device: torch.device, bf16: bool, has_bf16: bool, compiled: bool, channels_last: bool = True, compiles: bool = False
) -> list[Form]:
    """What is compared, the naive form and ours first.

    Args:
        device: that computes; TF32 and CUDA graphs are a GPU's.
        bf16: whether training computes in bf16.
        has_bf16: whether the device could.
        compiled: whether to compile, too.
        channels_last: whether training has channels last.
        compiles: whether training compiles.
    """
    gpu = device.type == "cuda"
    ours = Form("ours", channels_last, bf16=bf16, compiled="default" if compiles else None)
    found = [NAIVE, ours]
    if gpu:
        found.append(replace(NAIVE, name="naive with TF32", tf32=True))
    other = "ours in NCHW" if channels_last else "ours in NHWC"
    found.append(replace(ours, name=other, channels_last=not channels_last))
    found.append(replace(ours, name="ours with AdamW unfused", fused=False))
    if has_bf16:
        found.append(replace(ours, name="ours in float32" if bf16 else "ours in bf16", bf16=not bf16))
    if compiles:
        found.append(replace(ours, name="ours, not compiled", compiled=None))
    if compiled:
        if not compiles:
            found.append(replace(ours, name="ours, compiled", compiled="default"))
        if gpu:
            found.append(replace(ours, name="ours, compiled, CUDA graphs", compiled="reduce-overhead"))
    return found


class Step:
    """Forward, loss, backward, clipping and update, without Lightning; a call gives the seconds of a step.

    Args:
        form: how.
        module: whose weights are copied.
        batch: that every step sees.
        steps: in a call.
    """

    def __init__(self, form: Form, module: CascadeModule, batch: Batch, steps: int) -> None:
        device = batch["image"].device
        layout = torch.channels_last if form.channels_last else torch.contiguous_format
        self.form, self.steps, self.device = form, steps, device
        self.module = copy.deepcopy(module).to(device).train()
        self.module.on_train_epoch_start()  # holds batch norms still where that is asked for
        self.module.network.to(memory_format=layout)
        self.batch = batch
        groups = [
            {"params": group["params"], "weight_decay": group["weight_decay"]}
            for group in self.module.configure_optimizers().param_groups
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=module.optim.lr, fused=form.fused or None)
        if form.compiled:
            with compiler_warnings():
                self.module.network.compile(mode=form.compiled)

    def once(self) -> torch.Tensor:
        """One step; its loss."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.form.bf16):
            loss = self.module.total(self.module.losses(self.module.network(self.batch["image"]), self.batch["labels"]))
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.module.optim.clip_norm:
            torch.nn.utils.clip_grad_norm_(
                self.module.network.parameters(), self.module.optim.clip_norm, foreach=True if self.form.fused else None
            )
        self.optimiser.step()
        return loss.detach()

    def __call__(self) -> float:
        """Takes the steps; on a GPU, whose memory Lightning gives back after a run, behind one that does not count."""
        with self._arithmetic():
            if self.device.type == "cuda":
                self.once()
            started = stopwatch(self.device)
            for _ in range(self.steps):
                self.once()
            return (stopwatch(self.device) - started) / self.steps

    def _arithmetic(self) -> AbstractContextManager[object]:
        if self.device.type != "cuda":
            return nullcontext()
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=self.form.tf32)


def begun(step: Callable[[], object], device: torch.device) -> str | None:
    """Takes the first step, which compiles; on a GPU two more: the second records CUDA graphs, the third plays them.

    Returns:
        None, or in a few words why they cannot be taken here.
    """
    try:
        with compiler_warnings():
            for _ in range(3 if device.type == "cuda" else 1):
                step()
    except Exception as error:  # Inductor raises what its compilers do
        return f"{type(error).__name__}: {reason(error):.200}"
    return None
