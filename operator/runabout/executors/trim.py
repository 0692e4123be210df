"""What the pod informer keeps of a pod: all that observing needs, and nothing whose size a user decides.

What always holds: observing the trimmed pod gives the same state as observing the whole one.
"""

from runabout.records.json import JsonObject


def trim_pod(pod: JsonObject) -> JsonObject:
    """Return the part of `pod` that is kept in memory: identity, labels, node and status, bounded to some KB."""
    raise NotImplementedError
