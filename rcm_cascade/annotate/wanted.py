"""Which files an annotated mosaic is written to, beside labels, overlay and summary."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rcm_cascade.files import printable

REIMAGE_ABOVE: Final = 0.25
"""Clinicians discuss 5 to 25 %; see `rcm_cascade.annotate.outputs`."""


@dataclass(frozen=True)
class Outlines:
    """How regions are drawn for QuPath.

    Args:
        simplify_um: µm (px, where the pixel size is not known) that outlines may be off; 0: along pixel edges, exactly.
        min_area_mm2: regions below are left out (px, likewise); 0: none.
    """

    simplify_um: float = 0.0
    min_area_mm2: float = 0.0


@dataclass(frozen=True)
class Wanted:
    """Files by the name of their format in `rcm_cascade.annotate.outputs`; what is False, None or 0 is not written.

    Args:
        entropy: how unsure the network is of each pixel.
        fields: a row for each field of 0.5 mm.
        geojson: regions as QuPath's annotations.
        label_next: so many fields that are worth labelling, as QuPath's annotations.
        lesion_mask: file of the lesion as drawn, or folder of such; None: nobody has drawn it.
        reimage_above: share of artifact in mosaic or lesion, above which it should be imaged again.
    """

    entropy: bool = True
    fields: bool = True
    geojson: Outlines | None = None
    label_next: int = 0
    lesion_mask: Path | None = None
    reimage_above: float = REIMAGE_ABOVE

    @property
    def needs_entropy(self) -> bool:
        """Whether a file says how sure the network is."""
        return any((self.entropy, self.fields, self.geojson, self.label_next))

    def to_plain(self) -> dict[str, Any]:
        """As the summary keeps it; of a mask its name."""
        return asdict(self) | {"lesion_mask": None if self.lesion_mask is None else printable(self.lesion_mask.name)}

    def met_by(self, written: dict[str, Any]) -> bool:
        """Whether files that were written by other wishes, as `to_plain` gives them, are what is wanted here."""
        return all(written.get(name) == value for name, value in self.to_plain().items() if value)


PLAIN: Final = Wanted(entropy=False, fields=False)
"""Labels, overlay and summary alone."""
