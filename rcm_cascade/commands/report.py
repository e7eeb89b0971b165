"""`rcm-cascade report`: the page and the tables of a sweep, from what its jobs left behind."""

from rcm_cascade.report.pages import PAGE
from rcm_cascade.report.sweep import GRADIENTS, LEVELS, RESULTS, page_path, write_report

__all__ = ["GRADIENTS", "LEVELS", "PAGE", "RESULTS", "page_path", "report"]

report = write_report
