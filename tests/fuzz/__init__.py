"""Mutation fuzzing of every checkpoint reader: ``python -m tests.fuzz --reader all``.

seeds.py makes small valid checkpoints, mutations.py damages them, rule.py reads each and holds
the reader to its promise, the oracles say what a file declares, worker.py bounds time and memory.
"""
