"""`rcm-cascade annotate`: mosaics in, annotated mosaics out."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option

from rcm_cascade.errors import InputError


def annotate(
    images: Annotated[
        list[Path],
        Argument(metavar="IMAGE", help="TIFF, OME-TIFF, PNG, BMP, JPEG, JPEG 2000, or a folder of them."),
    ],
    out: Annotated[Path, Option(metavar="DIR", help="Folder to write into.")],
    checkpoint: Annotated[
        list[Path] | None,
        Option(
            metavar="C",
            help="Such as runs/NAME/checkpoints/best.ckpt; given again: averaged with it (default: the starter model).",
        ),
    ] = None,
    pixel_size: Annotated[
        float | None, Option(metavar="UM", help="µm per pixel, where the file does not say it.")
    ] = None,
    tile: Annotated[int | None, Option(metavar="PX", help="Side of a tile at each level (default: chosen).")] = None,
    memory: Annotated[
        str | None,
        Option(metavar="SIZE", help="For the network's features (default: 2 GB; of a GPU, most of what is free)."),
    ] = None,
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "int8"],
        Option(
            help="auto: bf16 where the processor has it, else fp32; int8 is quantised once, on training mosaics, and "
            "says what it costs."
        ),
    ] = "auto",
    backend: Annotated[
        Literal["auto", "torch", "openvino"], Option(help="auto: openvino on a CPU where it is installed.")
    ] = "auto",
    calibrate: Annotated[
        Path | None,
        Option(metavar="ROOT", help="int8: the training data set, if the run folder does not name it."),
    ] = None,
    accept_loss: Annotated[
        bool, Option("--accept-loss", help="int8: even if under 98% of the labels stay as they are.")
    ] = False,
    replace: Annotated[
        bool, Option("--replace", help="Replace files in DIR that are not results of the same mosaics, too.")
    ] = False,
    plain: Annotated[bool, Option("--plain", help="Labels, overlay and areas alone: no entropy, no fields.")] = False,
    geojson: Annotated[
        bool, Option("--geojson", help="Regions for QuPath, too: polygons along pixel edges, STEM.geojson.")
    ] = False,
    simplify: Annotated[
        float, Option(metavar="UM", min=0, help="--geojson: outlines may be so far off (default: not at all).")
    ] = 0.0,
    min_area: Annotated[
        float, Option(metavar="MM2", min=0, help="--geojson: leave smaller regions out (default: none).")
    ] = 0.0,
    page: Annotated[
        bool, Option("--page", help="A page for browsers, too: STEM.page, and index.html over all of them.")
    ] = False,
    lesion_mask: Annotated[
        Path | None,
        Option(metavar="FILE", help="Where the lesion is drawn, not 0 (a folder: a mask by mosaic; default: found)."),
    ] = None,
    reimage_above: Annotated[
        float, Option(metavar="SHARE", min=0, max=1, help="Of artifact, in mosaic or lesion: image it again.")
    ] = 0.25,
    label_next: Annotated[
        int, Option(metavar="N", min=0, help="The N fields worth labelling, for QuPath: STEM.label_next.geojson.")
    ] = 0,
) -> None:
    """Annotate whole mosaics.

    Writes, for each mosaic, STEM.labels.ome.tif (class ids, pyramidal), STEM.overlay.png (where to look first),
    STEM.entropy.ome.tif (how unsure the network is), STEM.fields.csv (a row for each field of 0.5 mm) and STEM.json
    (areas by class). Without --checkpoint it takes the starter model that comes with the package, trained on
    synthetic mosaics; shows the software, reads no tissue.
    """
    from rcm_cascade.annotate.backends import AnnotationOptions, parse_memory
    from rcm_cascade.annotate.cohort import annotate_files
    from rcm_cascade.annotate.wanted import Outlines, Wanted
    from rcm_cascade.review import page as pages
    from rcm_cascade.review.index import write_index
    from rcm_cascade.runs.score import quantise_checkpoint
    from rcm_cascade.threads import leave_busy_cores

    if (simplify or min_area) and not geojson:
        raise InputError("--simplify and --min-area say how --geojson draws; add --geojson, or leave them out")
    leave_busy_cores()
    options = AnnotationOptions(tile, None if memory is None else parse_memory(memory), precision, backend)
    if precision == "int8":
        for each in checkpoint or []:
            quantise_checkpoint(each, calibrate, accept_loss)
    outlines = Outlines(simplify, min_area) if geojson else None
    wanted = Wanted(
        entropy=not plain,
        fields=not plain,
        geojson=outlines,
        label_next=label_next,
        lesion_mask=lesion_mask,
        reimage_above=reimage_above,
    )
    companion = pages if page else None
    failed = annotate_files(images, checkpoint or [], out, options, pixel_size, replace, wanted, companion)
    if page and out.is_dir() and (index := write_index(out)) is not None:
        print(index)
    if failed:
        raise typer.Exit(1)
