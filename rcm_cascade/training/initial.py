"""Training that begins with another checkpoint's weights: which of them fit, and what is to be said of it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from rcm_cascade.errors import InputError
from rcm_cascade.models import Arguments, Network
from rcm_cascade.models.checkpoint import CheckpointHeader, LoadedCheckpoint, load_checkpoint, weight_shapes

FREE: Final = ("num_classes", "in_channels", "detach_prior")
"""The arguments that need not agree; the others make the weights' shapes, or say what a level is handed."""


def read_initial(init: str, path: Path) -> LoadedCheckpoint:
    """The checkpoint that ``init`` names.

    Args:
        init: the configuration's, for messages.
        path: of the checkpoint that it names.

    Raises:
        InputError: if the checkpoint cannot be used.
    """
    try:
        return load_checkpoint(path)
    except InputError as error:
        raise InputError(f"init={init}: {error} (or init=starter, the package's own)") from error


def refuse_other_form(init: str, theirs: Arguments, ours: Arguments) -> None:
    """Refuses to begin a network with the weights of another form.

    Raises:
        InputError: naming the keys to add.
    """
    have, asked = theirs.to_plain(), ours.to_plain()
    differing = [key for key, value in have.items() if key not in FREE and value != asked.get(key)]
    if theirs.design != ours.design:
        differing = ["design"]
    if differing:
        named = ", ".join(f"{key} {have[key]}" for key in differing)
        wanted = ", ".join(f"{asked[key]}" for key in differing)
        remedy = " ".join(f"model{'' if key == 'design' else f'.{key}'}={have[key]}" for key in differing)
        raise InputError(
            f"init={init} is a network of {named}, and the configuration asks for {wanted}; add {remedy} to train "
            "such a network, or leave init away"
        )


def load_initial(init: str, checkpoint: LoadedCheckpoint, network: Network, header: CheckpointHeader) -> list[str]:
    """Copies the weights and batch-norm buffers; what depends on the classes only where the class table is equal.

    With other classes (another number, other names, another order) heads keep their random weights, and so does the
    part of a level's first convolution that reads the prior, whose channels are classes.

    Args:
        init: the configuration's, for messages.
        checkpoint: that the weights are from.
        network: of the form of `header`; changed in place.
        header: of the run.

    Returns:
        Sentences for the user: what was loaded, and what speaks against it.
    """
    theirs, ours = checkpoint.network.state_dict(), network.state_dict()
    names, wanted = checkpoint.header.classes.names, header.classes.names
    by_class = {} if names == wanted else class_axes(header.model)
    image_channels = slice(None), slice(header.model.in_channels)  # they stand before the prior's
    for name, weights in ours.items():
        if (axis := by_class.get(name)) != 0:
            part = ... if axis is None else image_channels
            weights[part] = theirs[name][part]
    heads, partly = (list(by_class.values()).count(axis) for axis in (0, 1))
    loaded = f"init={init}: training begins with {len(ours) - heads} of {len(ours)} tensors of {checkpoint.path}"
    if by_class:
        other = "the classes in another order" if set(names) == set(wanted) else "other classes"
        loaded += (
            f"; it has {other} ({', '.join(names)}; this run: {', '.join(wanted)}), so {heads} tensors of heads "
            f"are random, and the prior's channels of {partly} others"
        )
    return [loaded, *(f"warning: init={init} {warning}" for warning in _warnings(checkpoint.header, header))]


def class_axes(arguments: Arguments) -> dict[str, int]:
    """The tensors whose shape depends on the number of classes, and along which axis.

    Returns:
        By name, 0 for heads and 1 for the convolutions that a prior enters.
    """
    more = weight_shapes(replace(arguments, num_classes=arguments.num_classes + 1))
    return {
        name: next(axis for axis, size in enumerate(shape) if size != more[name][axis])
        for name, shape in weight_shapes(arguments).items()
        if shape != more[name]
    }


def seen_before(theirs: CheckpointHeader, ours: CheckpointHeader) -> list[str]:
    """Mosaics that a run holds out and that the checkpoint it begins with was trained on, or chosen by for its test."""
    known = theirs.parts(ours.contents) if theirs.contents else theirs.split
    other = (theirs.mosaics_id or theirs.dataset_id) != (ours.mosaics_id if theirs.mosaics_id else ours.dataset_id)
    if other and not theirs.contents:
        return []
    earlier: Mapping[str, tuple[str, ...]] = {"val": ("train",), "test": ("train", "val")}
    return [mosaic for mosaic, part in ours.split.items() if known.get(mosaic) in earlier.get(part, ())]


def _warnings(theirs: CheckpointHeader, ours: CheckpointHeader) -> Iterator[str]:
    for key in ("working_pixel_size_um", "normalisation"):
        have, asked = getattr(theirs, key) or "native", getattr(ours, key) or "native"
        if have != asked:
            yield f"was trained with data.{key}={have} and this run has {asked}, so that it learnt from other input"
    if seen := seen_before(theirs, ours):
        yield (
            f"was trained or chosen on {len(seen)} of this run's held-out mosaics ({', '.join(seen[:3])}"
            f"{', …' if len(seen) > 3 else ''}), so that their scores flatter; train on others"
        )
