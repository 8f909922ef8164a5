"""Recorded outputs of other frameworks, and the scripts that record them."""
