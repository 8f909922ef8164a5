"""Measurements over many pictures, run by hand: ``python -m tests.load.end_to_end --help``."""
