"""Mutation fuzzing of the readers of checkpoints and model files: ``python -m tests.fuzz``.

seeds.py makes small valid checkpoints, mutations.py damages them, rule.py reads each and holds
the reader to its promise, the oracles say what a file declares, worker.py bounds time and memory.
"""
