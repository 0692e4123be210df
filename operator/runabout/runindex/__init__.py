"""The index of runs: which runs there are, found by group, namespace, phase, result, number and chosen labels.

Files (Parquet) hold what is archived; they are decoded once into flat, memory-mapped columns. A small overlay holds what
is newer. There is no object per archived run, no event loop and no clock in here.
"""
