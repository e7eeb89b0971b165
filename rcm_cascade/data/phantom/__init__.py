"""Phantoms: synthetic mosaics with known labels. They validate code; they are no patients.

What lies where (`layout`), what it looks like (`patterns` blends the `textures`, drawn
on the packings of `cells` and the noise of `fields`), what hides it (`artifacts`),
how it is imaged (`instrument`), what experts paint (`labelling`), whose it is (`people`, `recipe`). All in µm.
"""

from rcm_cascade.data.phantom.dataset import write_phantoms

__all__ = ["write_phantoms"]
