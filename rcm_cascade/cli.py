"""The command line `rcm-cascade`: thin; it parses, calls and prints."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from rcm_cascade import __version__
from rcm_cascade.annotate.starter import WHAT_IT_IS
from rcm_cascade.errors import InputError, JobsFailedError, explain_os_error

TRAIN_HELP = """\
usage: rcm-cascade train [KEY=VALUE ...] [--multirun]

Trains a cascade, on phantoms unless you name your own mosaics:

  rcm-cascade train                                      phantoms, 8 filters: minutes on two cores
  rcm-cascade train data=folder data.root=my-mosaics     your own mosaics
  rcm-cascade train experiment=paper data=folder data.root=my-mosaics
                                                         the network of Kose et al. 2018
  rcm-cascade train +debug=fast                          two steps, to see that everything works

The run's folder is runs/NAME with run=NAME, else runs/<the overrides>. The same command again resumes an
interrupted run and leaves a finished one alone.

Groups to choose from (group=name):
  data=phantom|folder   loss=injection    augment=standard|none   optim=adamw   logger=csv|wandb
  scale=cpu|paper       experiment=paper|ablation|starter|from_starter|few_labels    trainer=standard|ddp    +debug=fast
  model=cascade|cascade_no_injection|cascade_detached|cascade_logits|unet|unet_parameters|unet_flops|ensemble|dynunet
  +sweep=levels|depth_increment|loss_weights|error_injection|prior|baselines|labelled_fraction|starter
  launcher=here|slurm
Keys you are likely to change (key=value):
  model.levels model.base_depth model.depth_increment model.base_filters model.prior model.detach_prior
  loss.level_weights=equal|coarse|fine|last|[1,2,4]  loss.cross_entropy  loss.dice  loss.class_weights
  data.root data.split_file data.working_pixel_size_um data.batch_size data.sampling data.labelled_fraction
  trainer.max_epochs trainer.max_steps trainer.max_time=DD:HH:MM:SS trainer.accelerator trainer.precision
  trainer.devices trainer.nodes  trainer.accumulate trainer.recompute (small cards)  trainer.compile
  optim.lr optim.ema optim.freeze_norm  seed  run
  init=starter|CHECKPOINT (weights to begin with; the network must be of the same form)
Flags: --multirun (-m) runs every combination of values given as a,b,c, one folder a job, then see
`rcm-cascade report`; --cfg job prints the configuration.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Returns the exit status: 0 done, 1 some mosaics or jobs failed, 2 the user's input was wrong."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    warnings.formatwarning = _one_line
    try:
        return _run(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except JobsFailedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last saved state", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except OSError as error:  # a full disk, a folder that may not be written
        print(f"error: {explain_os_error(error)}", file=sys.stderr)
        return 2


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["train"]:  # Hydra parses the rest
        if set(arguments[1:]) & {"--help", "-h"}:
            print(TRAIN_HELP, end="")
            return 0
        from rcm_cascade.commands.train import train
        from rcm_cascade.runs.launch import main as launch
        from rcm_cascade.runs.train import identify

        launch(arguments[1:], train, identify)
        return 0
    if arguments[:2] == ["benchmark", "train"]:
        # argparse takes overrides in one row only
        arguments = sorted(arguments, key=lambda a: "=" in a and not a.startswith("-"))
    options = make_parser().parse_args(arguments)
    return _COMMANDS[options.command](options)


def make_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(
        prog="rcm-cascade",
        description="Learns patterns in reflectance confocal mosaics of skin and annotates whole mosaics with them.",
        epilog="`rcm-cascade COMMAND --help` says more. Start with `rcm-cascade demo`.",
    )
    parser.add_argument("--version", action="version", version=f"rcm-cascade {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="the whole chain on phantoms, in minutes",
        description="Makes phantoms, trains a small cascade, evaluates it on held-out phantom patients, annotates a "
        "held-out mosaic, and writes runs/demo/report.html.",
    )
    demo.add_argument("--minutes", type=float, default=4.5, help="training time (default: %(default)s)")

    phantom = commands.add_parser(
        "phantom",
        help="make a data set of synthetic mosaics",
        description="Writes a dataset folder of synthetic mosaics with known truth. They validate code; they are no "
        "patients.",
    )
    phantom.add_argument("out", type=Path, metavar="OUT", help="folder to write; must not exist, or be empty")
    phantom.add_argument("--mosaics", type=int, default=16, metavar="N", help="how many (default: %(default)s)")
    phantom.add_argument(
        "--size-mm", type=float, nargs=2, default=(6.0, 6.0), metavar=("H", "W"), help="height and width (default: 6 6)"
    )
    phantom.add_argument("--pixel-size", type=float, default=8.0, metavar="UM", help="µm per pixel (default: 8)")
    phantom.add_argument("--seed", type=int, default=0, metavar="S", help="another seed, other phantoms (default: 0)")
    phantom.add_argument("--patients", type=int, metavar="P", help="how many patients (default: one a mosaic)")
    phantom.add_argument("--sites", type=int, default=1, metavar="K", help="how many clinics (default: 1)")
    phantom.add_argument(
        "--deformed-meshwork",
        type=float,
        metavar="SHARE",
        help="0 to 1, the share of the meshwork that is deformed (default: drawn for each mosaic, .35 on average)",
    )

    batch = commands.add_parser(
        "batch",
        help="draw what training would see",
        description="Draws patches of a batch before and after augmentation, with their labels, and trains nothing.",
    )
    batch.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for train")
    batch.add_argument("--out", type=Path, default=Path("batch.png"), metavar="PNG", help="default: %(default)s")

    commands.add_parser("train", help="train a cascade (see `rcm-cascade train --help`)", add_help=False)

    report = commands.add_parser(
        "report",
        help="compare the configurations of a sweep",
        description="Writes report.html and its tables as CSV into a sweep's folder: each configuration over its "
        "seeds, its differences to a reference with intervals over patients, and which of these the data cannot tell "
        "from zero. Finished jobs that have not been evaluated are evaluated first.",
    )
    report.add_argument("sweep", type=Path, metavar="SWEEP_DIR", help="as `train --multirun` writes, such as runs/NAME")
    report.add_argument(
        "--reference", metavar="NAME", help="configuration that the others are compared with (default: the first)"
    )
    report.add_argument(
        "--score",
        type=float,
        metavar="S",
        help="validation mean sensitivity that times are measured to (default: 90%% of the reference's best)",
    )
    report.add_argument(
        "--metric",
        default="sensitivity",
        help="of rcm_cascade.evaluate.metrics: by whose mean the findings are sorted (default: %(default)s)",
    )

    evaluate = commands.add_parser(
        "evaluate",
        help="score a checkpoint on labelled mosaics",
        description="Annotates the mosaics of a split whole and compares with their label maps: metrics.json, "
        "per_mosaic.csv, a confusion picture and report.html.",
    )
    evaluate.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="such as runs/NAME/checkpoints/best.ckpt")
    evaluate.add_argument("--data", type=Path, required=True, metavar="ROOT", help="dataset folder")
    evaluate.add_argument(
        "--split", choices=("train", "val", "test"), default="test", help="which part (default: test)"
    )
    evaluate.add_argument("--out", type=Path, metavar="DIR", help="default: evaluation/ in the checkpoint's run folder")
    evaluate.add_argument(
        "--split-file", type=Path, metavar="CSV", help="columns mosaic,split; overrides every other split"
    )

    annotate = commands.add_parser(
        "annotate",
        help="annotate whole mosaics",
        description="Writes, for each mosaic, STEM.labels.ome.tif (class ids, pyramidal), STEM.overlay.png (where to "
        "look first) and STEM.json (areas by class). Without --checkpoint it takes the starter model that comes with "
        f"the package, {WHAT_IT_IS}.",
    )
    annotate.add_argument(
        "images",
        type=Path,
        nargs="+",
        metavar="IMAGE",
        help="TIFF, OME-TIFF, PNG, BMP, JPEG, JPEG 2000, or a folder of them",
    )
    annotate.add_argument(
        "--checkpoint",
        type=Path,
        metavar="C",
        help="such as runs/NAME/checkpoints/best.ckpt (default: the starter model)",
    )
    annotate.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    annotate.add_argument("--pixel-size", type=float, metavar="UM", help="µm per pixel, where the file does not say it")
    annotate.add_argument("--tile", type=int, metavar="PX", help="side of a tile at each level (default: chosen)")
    annotate.add_argument(
        "--memory", metavar="SIZE", help="for the network's features (default: 2 GB; of a GPU, most of what is free)"
    )
    annotate.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16", "int8"),
        default="auto",
        help="auto: bf16 where the processor has it, else fp32; int8 is quantised once, on training mosaics, and says "
        "what it costs (default: %(default)s)",
    )
    annotate.add_argument(
        "--backend",
        choices=("auto", "torch", "openvino"),
        default="auto",
        help="auto: openvino on a CPU where it is installed (default: %(default)s)",
    )
    annotate.add_argument(
        "--calibrate", type=Path, metavar="ROOT", help="int8: the training data set, if the run folder does not name it"
    )
    annotate.add_argument(
        "--accept-loss", action="store_true", help="int8: even if under 98%% of the labels stay as they are"
    )

    benchmark = commands.add_parser(
        "benchmark",
        help="measure speed against named peers",
        description="Measures annotation or training against what users would take otherwise, interleaved in one run.",
    )
    subjects = benchmark.add_subparsers(dest="what", required=True, metavar="annotate|train")
    annotating = subjects.add_parser(
        "annotate",
        help="a whole mosaic, file to files",
        description="Measures whole-mosaic annotation, file to files, against the bare network and MONAI's sliding "
        "window, interleaved in one run; writes annotation.md and annotation.json. Needs the extra [bench].",
    )
    annotating.add_argument("--checkpoint", type=Path, required=True, metavar="C", help="of a trained network")
    annotating.add_argument("--out", type=Path, default=Path("benchmark"), metavar="DIR", help="default: %(default)s")
    annotating.add_argument(
        "--image", type=Path, metavar="IMAGE", help="a mosaic, cut or mirrored to the size (default: a phantom)"
    )
    annotating.add_argument(
        "--size", type=int, nargs=2, default=(4096, 6000), metavar=("H", "W"), help="in px (default: 4096 6000)"
    )
    annotating.add_argument("--rounds", type=int, default=3, metavar="N", help="medians of so many (default: 3)")
    annotating.add_argument("--backend", choices=("auto", "torch", "openvino"), default="auto", help="default: auto")
    annotating.add_argument("--no-series", action="store_true", help="leave out the mosaics of 4 to 144 MP")
    training = subjects.add_parser(
        "train",
        help="training: the whole pipeline and its parts",
        description="Measures training as it is run against the same steps without loading and augmentation, these two "
        "against MONAI's, and a step against its naive form, interleaved in one run; writes training.md and "
        "training.json. Needs the extra [bench].",
    )
    training.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for train")
    training.add_argument("--out", type=Path, default=Path("benchmark"), metavar="DIR", help="default: %(default)s")
    training.add_argument("--rounds", type=int, default=7, metavar="N", help="medians of so many (default: 7)")
    training.add_argument("--steps", type=int, default=20, metavar="N", help="timed in a round (default: 20)")
    training.add_argument(
        "--no-compile", action="store_true", help="leave out torch.compile, which takes minutes to begin with"
    )
    return parser


def _demo(options: argparse.Namespace) -> int:
    from rcm_cascade.commands.demo import demo

    demo(options.minutes)
    return 0


def _phantom(options: argparse.Namespace) -> int:
    from rcm_cascade.phantom import write_phantoms

    out = write_phantoms(
        options.out,
        mosaics=options.mosaics,
        size_mm=tuple(options.size_mm),
        pixel_size_um=options.pixel_size,
        seed=options.seed,
        patients=options.patients,
        sites=options.sites,
        deformed_meshwork=options.deformed_meshwork,
    )
    print(f"{out}: {options.mosaics} phantom mosaics (synthetic, no patients)")
    return 0


def _batch(options: argparse.Namespace) -> int:
    from rcm_cascade.files import refuse_unwritable
    from rcm_cascade.runs.compose import compose_config
    from rcm_cascade.runs.train import draw_batch

    refuse_unwritable(options.out.parent)
    if options.out.is_dir():
        raise InputError(f"{options.out} is a folder; give the picture's file with --out PNG")
    draw_batch(compose_config(options.overrides), options.out)
    print(options.out)
    return 0


def _report(options: argparse.Namespace) -> int:
    from rcm_cascade.commands.report import page_path, report

    comparison = report(options.sweep, reference=options.reference, score=options.score, metric=options.metric)
    print(page_path(options.sweep))
    return 1 if any(entry.state == "not scored" for entry in comparison.left_out) else 0


def _evaluate(options: argparse.Namespace) -> int:
    from rich.console import Console

    from rcm_cascade.commands.evaluate import evaluate
    from rcm_cascade.report.tables import format_table

    summary, classes, out = evaluate(options.checkpoint, options.data, options.split, options.out, options.split_file)
    Console().print(format_table(summary, classes))
    print(out / "report.html")
    return 0


def _annotate(options: argparse.Namespace) -> int:
    from rcm_cascade.annotate.memory import parse_memory
    from rcm_cascade.commands.annotate import Options, annotate

    chosen = Options(
        pixel_size_um=options.pixel_size,
        tile=options.tile,
        precision=options.precision,
        backend=options.backend,
        memory=None if options.memory is None else parse_memory(options.memory),
        calibrate=options.calibrate,
        accept_loss=options.accept_loss,
    )
    return 1 if annotate(options.images, options.checkpoint, options.out, chosen) else 0


def _benchmark(options: argparse.Namespace) -> int:
    if options.what == "train":
        from rcm_cascade.commands.benchmark_train import benchmark_training

        compiled = not options.no_compile
        table = benchmark_training(options.overrides, options.out, options.rounds, options.steps, compiled)
        print(table, end="")
        return 0
    from rcm_cascade.commands.benchmark import benchmark_annotation

    table = benchmark_annotation(
        options.checkpoint,
        options.out,
        image=options.image,
        shape=tuple(options.size),
        rounds=options.rounds,
        backend=options.backend,
        series=not options.no_series,
    )
    print(table, end="")
    return 0


_COMMANDS = {
    "demo": _demo,
    "phantom": _phantom,
    "batch": _batch,
    "report": _report,
    "evaluate": _evaluate,
    "annotate": _annotate,
    "benchmark": _benchmark,
}


def _one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Warnings as a sentence, without the line of code that raised them."""
    return f"warning: {message}\n"


if __name__ == "__main__":
    sys.exit(main())
