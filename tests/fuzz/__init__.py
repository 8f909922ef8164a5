"""Mutation fuzzing of all that parses bytes from outside: ``python -m tests.fuzz``.

seeds.py makes small valid checkpoints, mutations.py damages them, rule.py reads each and holds
the reader to its promise, the oracles say what a file declares, worker.py bounds time and memory.
parsers.py lists what reads other things than tensors; parser_rule.py is their promise.  guided.py
gives the same inputs to libFuzzer, which looks for those that reach new lines.
"""
