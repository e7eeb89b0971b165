"""The commands of `rcm-cascade`, one a file: its options and a few calls; `rcm_cascade.cli` collects them.

What is slow to import is imported where it is called, so that help and mistakes are answered at once.
"""
