"""How fast is training? The real pipeline against its parts, MONAI's and the naive step, interleaved in one run.

Needs the extra [bench]. Writes training.md and training.json into --out. Usage: python -m experiments.speed.training
[KEY=VALUE …]
"""

import copy
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import torch
import typer
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback, Trainer, seed_everything

from experiments.script import run, table
from experiments.speed.machine import Timed, describe_machine, floor_s_per_mp, peak_memory, take_turns
from experiments.speed.parts import Loading, Pace, ResidentBatch, augmenting, epoch_steps, fitted, warm_up
from experiments.speed.steps import NAIVE, Step, begun, forms
from experiments.speed.training_peers import MonaiPipeline
from rcm_cascade.annotate.backends import has_bf16
from rcm_cascade.data.datamodule import MosaicDataModule, prepare
from rcm_cascade.errors import InputError
from rcm_cascade.files import refuse_unwritable, write_json, write_text
from rcm_cascade.runs.compose import compose_config
from rcm_cascade.runs.config import TrainConfig
from rcm_cascade.runs.data import load_training_data
from rcm_cascade.runs.folder import RunFolder
from rcm_cascade.runs.trainer import check_device, make_datamodule, make_header, make_module, make_trainer, quiet
from rcm_cascade.training.history import MetricsCsv
from rcm_cascade.training.module import CascadeModule

REAL: Final = "real pipeline"
RESIDENT: Final = "one resident batch: no loading, no augmentation"
LOADED: Final = "loading alone"
AUGMENTED: Final = "augmentation alone"
BOTH: Final = "loading and augmentation"
MONAI: Final = ("MONAI as it comes", "MONAI without metadata")


def main(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="As for train.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write into.")] = Path("benchmark"),
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Medians of so many.")] = 7,
    steps: Annotated[
        int, typer.Option(metavar="N", min=1, help="Timed in a round; fewer where an epoch has fewer.")
    ] = 20,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Whether torch.compile is tried, which takes minutes.")
    ] = True,
) -> None:
    config = compose_config(overrides or [])
    trainer = config.trainer
    if (trainer.devices, trainer.nodes, trainer.accumulate, config.init) != (1, 1, 1, None):
        raise InputError(
            "the benchmark measures one process, a batch a step, from random weights; leave trainer.devices, "
            "trainer.nodes, trainer.accumulate and init away"
        )
    check_device(config)
    refuse_unwritable(out)
    found = _measure(_set_up(config, steps), rounds, compiled) | {"overrides": overrides or []}
    write_json(out / "training.json", found)
    write_text(out / "training.md", to_markdown(found))
    print(to_markdown(found), end="")


@dataclass(frozen=True)
class _Setting:
    config: TrainConfig
    module: CascadeModule
    datamodule: MosaicDataModule
    steps: int
    warmup: int

    def trainer(self, folder: str, callbacks: Sequence[Callback] = ()) -> Trainer:
        """As `train` makes it, for so many steps."""
        run = RunFolder(Path(folder))
        return make_trainer(self.config, run, self.datamodule, [MetricsCsv(run.metrics)], callbacks)

    def pace(self, datamodule: MosaicDataModule) -> Pace:
        """Trains these steps, silently, in a folder that does not stay."""
        with tempfile.TemporaryDirectory() as folder, quiet(), redirect_stderr(io.StringIO()):
            return fitted(partial(self.trainer, folder), self.module, datamodule, self.warmup)


def _set_up(config: TrainConfig, steps: int) -> _Setting:
    seed_everything(config.seed, workers=True, verbose=False)
    loaded = load_training_data(config.data)
    header = make_header(config, loaded)
    training = {name: part for name, part in loaded.split.items() if part == "train"}  # nothing to validate on
    datamodule = make_datamodule(config, replace(loaded, split=training), header)
    steps, warmup = epoch_steps(datamodule, steps), warm_up(datamodule)
    if steps < 1:
        raise InputError(
            f"an epoch has {datamodule.steps_per_epoch} batches; the benchmark needs more than {warmup}: lower "
            "data.batch_size, raise trainer.steps_per_epoch, or take more mosaics"
        )
    limits = {"max_steps": warmup + steps, "max_epochs": None, "max_time": None}
    config = config.model_copy(update={"trainer": config.trainer.model_copy(update=limits)})
    return _Setting(config, make_module(config, header, datamodule), datamodule, steps, warmup)


def _measure(setting: _Setting, rounds: int, compiled: bool) -> dict[str, Any]:
    datamodule, steps = setting.datamodule, setting.steps
    pristine = copy.deepcopy(setting.module)  # a module that has been trained holds its Trainer
    with tempfile.TemporaryDirectory() as folder, quiet():
        trainer = setting.trainer(folder)
    device, bf16 = trainer.strategy.root_device, trainer.precision == "bf16-mixed"
    setting.pace(datamodule)  # before anything else, whose memory would count; now mosaics are in the system's cache
    peak = peak_memory()
    peak_gpu = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None

    raw = move_data_to_device(datamodule.example(datamodule.arguments.batch_size), device)
    batch = prepare(raw, datamodule.arguments.geometry.patch)
    waiting: dict[str, list[float]] = {REAL: [], RESIDENT: []}

    def paced(name: str, source: MosaicDataModule) -> Callable[[], float]:
        def run() -> float:
            pace = setting.pace(source)
            waiting[name].append(pace.waiting)
            return pace.step_s

        return run

    runs = [Timed(REAL, paced(REAL, datamodule)), Timed(RESIDENT, paced(RESIDENT, ResidentBatch(datamodule, batch)))]
    unavailable = {}
    last, compiles = pristine.layout == torch.channels_last, setting.config.trainer.compile
    for form in forms(device, bf16, has_bf16(device), compiled, last, compiles):
        step = Step(form, pristine, batch, steps)
        reason = begun(step.once, device)
        if reason is None:
            runs.append(Timed(form.name, step))
        else:
            unavailable[form.name] = reason
    pipelines = [
        Timed(LOADED, Loading(datamodule, steps, device, augmented=False)),
        Timed(AUGMENTED, augmenting(raw, datamodule.arguments.geometry.patch, steps)),
        Timed(BOTH, Loading(datamodule, steps, device, augmented=True)),
        *(Timed(name, MonaiPipeline(datamodule, steps, device, name == MONAI[0])) for name in MONAI),
    ]
    for pipeline in pipelines:
        pipeline.run()  # begins its processes
    take_turns([*runs, *pipelines], rounds)

    dtype = torch.bfloat16 if bf16 else torch.float32
    forward, rate = floor_s_per_mp(setting.module.header.model, device, dtype, tf32=True)
    floor = 3 * forward * batch["labels"].numel() / 1e6  # the gradients of inputs and of weights take as much each
    medians = {run.name: run.median for run in runs}
    patches = {run.name: 1 / run.median for run in pipelines}
    return {
        "machine": describe_machine(device),
        "network": setting.module.header.model.to_plain(),
        "data": {"name": setting.module.header.dataset, "mosaics": len(datamodule.patches.mosaics)},
        "batch": list(batch["labels"].shape),
        "workers": datamodule.train_dataloader().num_workers,
        "precision": "bf16" if bf16 else "fp32",
        "rounds": rounds,
        "steps": steps,
        "runs": {run.name: {"s_per_step": run.median, "seconds": run.seconds} for run in runs},
        "pipelines": {run.name: {"patches_per_s": 1 / run.median, "seconds": run.seconds} for run in pipelines},
        "unavailable": unavailable,
        "ratios": _ratios(medians, patches),
        "waiting": {name: sorted(shares)[len(shares) // 2] for name, shares in waiting.items()},
        "floor": {"s_per_step": floor, "operations_per_s": rate},
        "peak_bytes": peak,
        "peak_gpu_bytes": peak_gpu,
    }


def _ratios(steps: Mapping[str, float], patches: Mapping[str, float]) -> dict[str, float]:
    """How many times as fast the first is as the second."""
    found = {"real pipeline / resident batch": steps[RESIDENT] / steps[REAL]}
    found |= {f"{BOTH} / {name}": patches[BOTH] / patches[name] for name in MONAI}
    for name in steps if "ours" in steps else ():
        if name == NAIVE.name:
            found["ours / naive"] = steps[name] / steps["ours"]
        elif name.startswith(("ours ", "ours,")):
            found[f"ours / {name}"] = steps[name] / steps["ours"]
    return found


def to_markdown(found: Mapping[str, Any]) -> str:
    """The tables of a benchmark's record."""
    machine, floor, (count, height, width) = found["machine"], found["floor"], found["batch"]
    seconds = {name: run["s_per_step"] for name, run in found["runs"].items()}
    steps = [[name, f"{1e3 * step:.1f}", f"{count / step:.1f}"] for name, step in seconds.items()]
    steps += [[name, "not available", ""] for name in found["unavailable"]]
    pipelines = [[name, f"{run['patches_per_s']:.0f}"] for name, run in found["pipelines"].items()]
    on_gpu = f", and {found['peak_gpu_bytes'] / 1e9:.2f} GB on the GPU" if found["peak_gpu_bytes"] else ""
    parts = [
        f"{machine['device']}, {machine['threads']} threads ({machine['arithmetic']}); torch {machine['torch']}; "
        f"commit {machine['commit']}. {found['network']['base_filters']} filters, {found['precision']}, batches of "
        f"{count} × {height} × {width} px from {found['data']['mosaics']} mosaics ({found['data']['name']}), "
        f"{found['workers']} loading processes; medians of {found['rounds']} interleaved rounds of {found['steps']} "
        "steps.",
        table(["step", "ms", "patches/s"], steps),
        table(["loading and augmentation", "patches/s"], pipelines),
        table(["ratio (of speeds)", ""], [[name, f"{value:.2f}"] for name, value in found["ratios"].items()]),
        "The first two rows train as `train` does; the others are bare steps, without Lightning and what is logged. "
        f"Between steps the device waits {found['waiting'][REAL]:.1%} of the time, and "
        f"{found['waiting'][RESIDENT]:.1%} with the resident batch. Floor, all operations at the speed of a large "
        f"matrix product "
        f"({floor['operations_per_s'] / 1e9:.0f} GFLOP/s in {found['precision']}): {1e3 * floor['s_per_step']:.1f} ms "
        f"a step, {floor['s_per_step'] / seconds[RESIDENT]:.0%} of the resident batch's. Peak memory of training: "
        f"{found['peak_bytes'] / 1e9:.2f} GB{on_gpu}.",
        *(f"Not available: {name} ({reason})." for name, reason in found["unavailable"].items()),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    run(main)
