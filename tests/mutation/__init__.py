"""Mutation testing, run by hand: ``python -m tests.mutation --help``.

A mutant is the source with one small mistake, such as ``<=`` for ``<``.  mutants.py makes them,
observed.py notes which tests run which lines, trial.py runs the tests on one mutant in a fork
that imports the mistaken module instead of the real one.  A mutant that no test fails on either
computes the same (equivalent.toml says why) or shows a test that is missing.
"""
