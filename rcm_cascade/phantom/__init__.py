"""Phantoms: synthetic mosaics with known labels. They validate code; they are no patients.

What shall be drawn (`recipe`, `people`); what lies where (`layout`); what each tissue looks like (`papillae`, `clods`,
`sheets`, made of `strokes` on the packings of `cells` and the cell-sized texture of `tile`), blended by `patterns` one
`window` at a time; what hides it (`artifacts`: `wrinkles`, `contact`, `adnexa`, `keratin`); how it is imaged
(`instrument`, `scanning`); what experts paint (`labelling`); the folder that `data=phantom` names (`named`). All in µm.
"""

from rcm_cascade.phantom.dataset import GENERATOR, write_phantoms
from rcm_cascade.phantom.named import ensure_phantoms, phantom_name

__all__ = ["GENERATOR", "ensure_phantoms", "phantom_name", "write_phantoms"]
