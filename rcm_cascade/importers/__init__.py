"""Labels from other tools into a dataset folder; one file here a family of sources, which makes itself known."""

import importlib
import pkgutil

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")
