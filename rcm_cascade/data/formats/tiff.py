"""TIFF, BigTIFF and OME-TIFF: pixels of the one page that counts."""

import re
from pathlib import Path
from typing import Final

import numpy as np
import tifffile

from rcm_cascade.data.formats.base import (
    Format,
    Pixels,
    Stated,
    check_size,
    refuse_several,
    refuse_truncated,
    refuse_turned,
)
from rcm_cascade.data.formats.resolution import description, ome_images, ome_metadata, stated_size
from rcm_cascade.errors import InputError

_REDUCED, _MASK = 1, 4  # bits of the TIFF tag NewSubfileType
_ASIDE: Final = re.compile(r"(thumbnail|macro|label|mask|overview|preview)s?( image)?", re.IGNORECASE)
_ORIENTATION: Final = 274
_COLOURS: Final = {0: 1, 1: 1, 2: 3, 3: 1, 6: 3}
"""Channels by PhotometricInterpretation: white is zero, black is zero, RGB, palette, YCbCr; others are CMYK, Lab, …"""
_LOSSLESS: Final = {1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 34926, 34933, 50000}
"""Compressions that keep ids: none, CCITT, LZW, deflate, PackBits, LZMA, Zstandard, PNG; others need not."""
_VERIFIED: Final = {1, 8, 32946, 34887, 34925, 34933, 50002, 52546}
"""Compressions whose decoders see a missing end; where nothing is compressed, zeros are what was not imaged."""
_WITH_END_MARKER: Final = {7, 33003, 33004, 33005, 34712}  # JPEG and JPEG 2000
_TO_RGB: Final = {6, 7, 34892, 50001, 50002, 52546}  # JPEG, WebP, JPEG XL: their decoders make RGB of YCbCr
_PREDICTED: Final = {5, 8, 32946, 34925, 34926, 50000}
"""Compressions with which the tag Predictor counts."""
_LARGEST_TILE: Final = 4
"""Times the image (or 1 MP): a larger tile would decode to gigabytes of nothing."""
_TAIL: Final = 16
"""Bytes of zeros by which a compressed part is known to have been copied in part."""


def read(path: Path) -> Pixels:
    """The only image, at the full resolution of its pyramid.

    Raises:
        InputError: if the file holds several images, is stored turned, is in another colour space, or holds less than
            it says.
    """
    with tifffile.TiffFile(path) as file:
        page, note = _the_page(path, file)
        check_size(path, page.imagelength, page.imagewidth)
        if page.is_tiled and page.tilelength * page.tilewidth > _LARGEST_TILE * max(
            page.imagelength * page.imagewidth, 2**20
        ):
            refuse_truncated(path, f"its tiles are {page.tilelength} × {page.tilewidth} px")
        refuse_turned(path, page.tags.valueof(_ORIENTATION, default=1))
        if 262 not in page.tags:  # tifffile would take white for zero
            page.photometric = tifffile.PHOTOMETRIC(1 if page.samplesperpixel < 3 else 2)
        if page.compression not in _PREDICTED:  # as other readers do
            page.predictor = 1
        colours = _COLOURS.get(page.photometric, 0)
        extra = page.samplesperpixel - colours
        alpha = extra == 1 and any(page.extrasamples)
        unused = extra == 1 and not alpha and colours == 3  # a fourth channel of which nothing is said
        luma_first = page.photometric == 6 and page.compression not in _TO_RGB
        full = 0, 1, 2**page.bitspersample - 1, 1  # black and white, as fractions
        ranged = luma_first and tuple(page.tags.valueof(532, default=full))[:4] != full
        subsampled = luma_first and page.subsampling not in (None, (1, 1))
        unusual = " at different resolutions" * subsampled or " of another range" * ranged
        if not colours or (extra and not alpha and not unused) or unusual:
            kind = tifffile.PHOTOMETRIC(page.photometric).name + unusual
            raise InputError(
                f"{path} has {page.samplesperpixel} channels of kind {kind}; expected grey or RGB: save the channel "
                "you mean alone"
            )
        missing = _check_whole(path, page)
        pixels = page.asarray()
        if page.planarconfig == 2 and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        if unused:
            pixels = pixels[..., :3]
        palette = None
        if page.photometric == 3 and page.colormap is not None:
            eight_bit = page.colormap.max() < 256  # against the standard, and common
            palette = (page.colormap >> (0 if eight_bit else 8)).astype(np.uint8).T
        if missing:
            written = f"{missing} of the {len(page.databytecounts)} parts of {path} were never written"
            note = "; ".join(filter(None, (f"{written} and are read as black", note)))
        return Pixels(
            pixels,
            palette,
            bits=page.bitspersample,
            alpha=alpha,
            white_is_zero=page.photometric == 0,
            luma_first=luma_first,
            lossy="" if page.compression in _LOSSLESS else f"TIFF with {tifffile.COMPRESSION(page.compression).name}",
            whole=not missing,
            note=note,
        )


def _the_page(path: Path, file: tifffile.TiffFile) -> tuple[tifffile.TiffPage, str]:
    """The page that the mosaic is in, and a sentence where there was a choice."""
    # The chain of pages and not tifffile's series: those follow OME metadata into other files. Levels of a pyramid are
    # SubIFDs, outside the chain, or pages marked as reduced.
    pages = [page for page in file.pages if isinstance(page, tifffile.TiffPage)]
    full = [page for page in pages if not page.subfiletype & (_REDUCED | _MASK)]
    named = ome_images(ome_metadata(file), pages) if len(full) > 1 else {}
    images = [page for page in full if not _is_aside(page, named.get(page.index, {}).get("Name", ""))] or full
    if not images and len(pages) == 1 and not pages[0].subifds:  # a mask or a level that was saved alone
        images = pages
    if not images:
        raise InputError(f"{path} holds reduced pictures and masks only; export the mosaic itself")
    page = images[0]
    count = max(len(images), page.imagedepth, _planes(path, page))
    if count != 1:
        refuse_several(path, count)
    if all(other is page or (other.index > page.index and other.subfiletype & _REDUCED) for other in pages):
        return page, ""
    return page, (
        f"{path} holds {len(pages)} pictures; the mosaic is taken to be number {page.index + 1}, of "
        f"{page.imagelength} × {page.imagewidth} px (height × width), the others thumbnails, masks or labels"
    )


def _planes(path: Path, page: tifffile.TiffPage) -> int:
    """How many images are behind a page of a stack that has no other: of MetaMorph, or of ImageJ if there is room."""
    if 33629 in page.tags:
        return page.tags[33629].count
    found = re.search(r"\AImageJ=.*?^images=(\d+)", description(page), re.DOTALL | re.MULTILINE)
    planes = int(found[1]) if found and page.compression == 1 else 1  # programs copy the text with single images
    room = path.stat().st_size - page.dataoffsets[0]
    return planes if planes * page.nbytes <= room else 1


def _is_aside(page: tifffile.TiffPage, name: str) -> bool:
    """Whether a page is named as something beside the image: by OME metadata, its own name, or a slide scanner."""
    scanned = re.match(r"Aperio[^\r\n]*[\r\n]+(label |macro |[^|]*-> ?\d+x\d+)", description(page))
    names = (name, str(page.tags.valueof(285, default="")))
    return bool(scanned) or any(_ASIDE.fullmatch(text.strip()) for text in names)


def _check_whole(path: Path, page: tifffile.TiffPage) -> int:
    """Refuses a page that ends early; gives the number of parts (strips or tiles) that were never written."""
    extents = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    counted = page.compression == 1 or {279, 325} & {tag.code for tag in page.tags}
    if not counted or any(at and not length for at, length in extents):
        refuse_truncated(path, "it does not say how long its strips or tiles are")
    parts = [(at, length) for at, length in extents if at and length]
    end, size = max((at + length for at, length in parts), default=0), path.stat().st_size
    if not parts:
        refuse_truncated(path, "none of its pixels were ever written")
    if end > size:
        refuse_truncated(path, f"its pixels end at byte {end}, the file at {size}")
    if page.compression not in _VERIFIED:
        with path.open("rb") as file:
            for at, length in parts:
                file.seek(at + max(length - 64 * _TAIL, 0))
                tail = file.read(min(length, 64 * _TAIL))
                if page.compression in _WITH_END_MARKER:
                    ends = tail.rstrip(b"\0").endswith(b"\xff\xd9")
                else:
                    ends = len(tail) < _TAIL or any(tail[-_TAIL:])
                if not ends:
                    refuse_truncated(path, f"the part at byte {at} has no end")
    return len(extents) - len(parts)


def pixel_size(path: Path) -> Stated:
    """Of the page that the pixels come from; see `rcm_cascade.data.formats.resolution`."""
    with tifffile.TiffFile(path) as file:
        page, _ = _the_page(path, file)
        return stated_size(path, file, page)


Format("TIFF", (".tif", ".tiff", ".btf"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), read, pixel_size)
