"""How fast is training? The real pipeline against its parts, MONAI's and the naive step, interleaved in one run.

Needs the extra [bench]. Usage: python -m experiments.speed.training [OVERRIDE …] [--out DIR] …; --help says more.
"""

import copy
import io
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final

import torch
import typer
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback, Trainer, seed_everything

from experiments.speed.machine import describe_machine, peak_memory
from experiments.speed.parts import (
    Loading,
    Pace,
    ResidentBatch,
    augmenting,
    epoch_steps,
    fitted,
    floor_s,
    warm_up,
)
from experiments.speed.rounds import Timed, take_turns
from experiments.speed.steps import NAIVE, Step, begun, forms
from experiments.speed.training_peers import MonaiPipeline
from rcm_cascade.annotate.backends import has_bf16
from rcm_cascade.cli import exit_status
from rcm_cascade.data.datamodule import MosaicDataModule, prepare
from rcm_cascade.errors import InputError
from rcm_cascade.files import refuse_unwritable, written_whole
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


def measure_training(
    overrides: Sequence[str], out: Path, rounds: int = 7, steps: int = 20, compiled: bool = True
) -> str:
    """Measures training, its parts, and what stands against them.

    Args:
        overrides: as `train` takes them.
        out: folder for training.json and training.md.
        rounds: how often everything is run in turn; the tables show medians.
        steps: timed in a round; fewer where an epoch has fewer.
        compiled: whether `torch.compile` is tried, too.

    Returns:
        The tables, as Markdown.

    Raises:
        InputError: if MONAI is missing, or configuration, data, rounds or steps are wrong.
    """
    if find_spec("monai") is None:
        raise InputError("the benchmark needs MONAI, which is not installed: pip install 'rcm-cascade[bench]'")
    if min(rounds, steps) < 1:
        raise InputError(f"{rounds} rounds of {steps} steps; expected 1 round or more of 1 step or more")
    config = compose_config(overrides)
    if config.trainer.devices != 1 or config.trainer.nodes != 1:
        raise InputError("the benchmark measures one process; leave trainer.devices and trainer.nodes at 1")
    if config.trainer.accumulate != 1 or config.init is not None:
        raise InputError(
            "the benchmark takes a batch a step and random weights; leave trainer.accumulate and init away"
        )
    check_device(config)
    refuse_unwritable(out)
    setting = _set_up(config, steps)
    found = _measure(setting, rounds, compiled)
    found["overrides"] = list(overrides)
    with written_whole(out / "training.json") as path:
        path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    table = to_markdown(found)
    with written_whole(out / "training.md") as path:
        path.write_text(table, "utf-8")
    return table


@dataclass(frozen=True)
class _Setting:
    config: TrainConfig
    module: CascadeModule
    datamodule: MosaicDataModule
    steps: int
    warmup: int
    folder: str | None = None

    def trainer(self, callbacks: Sequence[Callback] = ()) -> Trainer:
        """As `train` makes it, for so many steps."""
        assert self.folder is not None
        folder = RunFolder(Path(self.folder))
        return make_trainer(self.config, folder, self.datamodule, [MetricsCsv(folder.metrics)], callbacks)

    def pace(self, datamodule: MosaicDataModule) -> Pace:
        """Trains these steps, silently, in a folder that does not stay."""
        with tempfile.TemporaryDirectory() as folder, quiet(), redirect_stderr(io.StringIO()):
            return fitted(replace(self, folder=folder).trainer, self.module, datamodule, self.warmup)


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
        trainer = replace(setting, folder=folder).trainer()
    device, bf16 = trainer.strategy.root_device, trainer.precision == "bf16-mixed"
    setting.pace(datamodule)  # before anything else, whose memory would count; now mosaics are in the system's cache
    peak, gpu = peak_memory(), device.type == "cuda"
    peak_gpu = torch.cuda.max_memory_allocated(device) if gpu else None

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

    floor, rate = floor_s(
        setting.module.header.model, batch["labels"].numel(), device, torch.bfloat16 if bf16 else torch.float32
    )
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
    ceiling = found["runs"][RESIDENT]["s_per_step"]
    lines = [
        f"{machine['device']}, {machine['threads']} threads ({machine['arithmetic']}); torch {machine['torch']}; "
        f"commit {machine['commit']}. {found['network']['base_filters']} filters, {found['precision']}, batches of "
        f"{count} × {height} × {width} px from {found['data']['mosaics']} mosaics ({found['data']['name']}), "
        f"{found['workers']} loading processes; medians of {found['rounds']} interleaved rounds of {found['steps']} "
        "steps.",
        "",
        "| step | ms | patches/s |",
        "|---|---:|---:|",
        *(
            f"| {name} | {1e3 * run['s_per_step']:.1f} | {count / run['s_per_step']:.1f} |"
            for name, run in found["runs"].items()
        ),
        *(f"| {name} | not available | |" for name in found["unavailable"]),
        "",
        "| loading and augmentation | patches/s |",
        "|---|---:|",
        *(f"| {name} | {run['patches_per_s']:.0f} |" for name, run in found["pipelines"].items()),
        "",
        "| ratio (of speeds) | |",
        "|---|---:|",
        *(f"| {name} | {value:.2f} |" for name, value in found["ratios"].items()),
        "",
        "The first two rows train as `train` does; the others are bare steps, without Lightning and what is logged. "
        f"Between steps the device waits {found['waiting'][REAL]:.1%} of the time, and "
        f"{found['waiting'][RESIDENT]:.1%} with the resident batch. Floor, all operations at the speed of a large "
        f"matrix product "
        f"({floor['operations_per_s'] / 1e9:.0f} GFLOP/s in {found['precision']}): {1e3 * floor['s_per_step']:.1f} ms "
        f"a step, {floor['s_per_step'] / ceiling:.0%} of the resident batch's. Peak memory of training: "
        f"{found['peak_bytes'] / 1e9:.2f} GB{_on_gpu(found['peak_gpu_bytes'])}.",
    ]
    lines += [f"\nNot available: {name} ({reason})." for name, reason in found["unavailable"].items()]
    return "\n".join(lines) + "\n"


def _on_gpu(peak: int | None) -> str:
    return "" if peak is None else f", and {peak / 1e9:.2f} GB on the GPU"


program = typer.Typer(name="python -m experiments.speed.training", add_completion=False, rich_markup_mode=None)


@program.command()
def main(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="As for train.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write into.")] = Path("benchmark"),
    rounds: Annotated[int, typer.Option(metavar="N", help="Medians of so many.")] = 7,
    steps: Annotated[int, typer.Option(metavar="N", help="Timed in a round.")] = 20,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Whether torch.compile is tried, which takes minutes.")
    ] = True,
) -> None:
    """Measures training, and writes training.md and training.json."""
    print(measure_training(overrides or [], out, rounds, steps, compiled), end="")


if __name__ == "__main__":
    sys.exit(exit_status(program, sys.argv[1:]))
