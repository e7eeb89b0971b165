"""Numbers and counts as people read them."""

import math
from typing import Final

from rcm_cascade.evaluate.bootstrap import Interval

UNDEFINED: Final = "–"

SYNTHETIC_NOTE: Final = "phantom (synthetic) mosaics: no statement about patients"


def decimal(value: float | None) -> str:
    """Two decimals, or a dash."""
    if value is None or math.isnan(value):
        return UNDEFINED
    return f"{value + 1e-9:.2f}"  # .945, stored as .94499…, rounds up


def percent(share: float | None) -> str:
    """``"12.3 %"``, or a dash."""
    return UNDEFINED if share is None else f"{share:.1%}".replace("%", " %")


def cell(value: object) -> str:
    """A value as tables show it: whole numbers in groups of three, others with three digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}".replace(",", "\u2009")  # thin spaces: neither a decimal comma nor a decimal point
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """In seconds, minutes or hours, whichever suits."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def signed(value: float | None, digits: int = 3) -> str:
    """With its sign, a true minus, none for 0 itself; a dash where undefined."""
    if value is None:
        return UNDEFINED
    return f"{value:+.{digits}f}".replace("-", "−") if value else f"{0:.{digits}f}"


def interval_text(interval: Interval, digits: int = 3) -> str:
    """``"−0.180 to −0.060"``, or empty where there is none."""
    return " to ".join(signed(bound, digits) for bound in interval or ())


def counted(number: int, noun: str) -> str:
    """``"1 seed"``, ``"2 seeds"``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def describe_mosaics(mosaics: int, patients: int, without: int = 0, noun: str = "mosaic") -> str:
    """``"9 mosaics of 7 patients"``, or that and which of them count as a patient for want of a name.

    Args:
        mosaics: how many.
        patients: whose they are.
        without: the mosaics of which the manifest names no patient.
        noun: what a mosaic is called.
    """
    if without and without == mosaics:
        return f"{counted(mosaics, noun)}, no patients given: each counts as one"
    text = f"{counted(mosaics, noun)} of {counted(patients, 'patient')}"
    return text + (f", of which {without} are mosaics without a patient given" if without else "")
