"""What a run means, as pure code: graph, conditions, decisions, groups, restarts.

No I/O, no clock, no randomness: everything comes in as arguments, so everything about a run's meaning can be tested
with tables and laws, and simulated without a cluster.
"""
