"""Pictures by the hundred thousand: classified by many processes, each accounted for exactly once.

``stores``    files on this machine or in any store that fsspec knows
``chunks``    so many pictures as one task classifies; ``tar_shards`` and ``parquet`` hold others
``sources``   what the user named -> chunks, in order
``worker``    what runs where the processors are: chunk -> rows
``cluster``   Dask: processes here or elsewhere, retries, and the picture that kills its process
``results``   rows -> a folder of Parquet or NDJSON
``run``       all of it: one manifest, numbered parts, one folder of results

Paths travel to the workers, and rows come back; pixels do not travel.  Whoever asked writes the
parts, so that nothing is counted twice, whatever is killed and run again.
"""
