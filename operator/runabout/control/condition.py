"""What the state of the data layer means for those who look at a replica: sentences, worst first.

Slow is not broken: what passes by itself, and does not keep runs from going on, is said and no reason not to be ready.
"""

from dataclasses import dataclass

from runabout.datamanager import Vitals

STUCK_SECONDS = 5.0
"""Without an answer of etcd for this long, the replica is not ready."""
UNWRITTEN_SECONDS = 60.0
"""Without a write that the object storage took for this long, neither."""
NEARLY = 0.8
"""Share of what may wait in etcd from which on the replica is not ready."""
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Condition:
    """Why a replica is not ready, and what else there is to say; each is a sentence."""

    troubles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def condition(now: Vitals, *, endpoints: str, writes_fail_seconds: float, writes_trouble: str) -> Condition:
    """Return what the state of a store means; `endpoints` are etcd's, times in seconds."""
    troubles: list[str] = []
    notes: list[str] = []
    if now.stuck_seconds > STUCK_SECONDS:
        troubles.append(f"etcd at {endpoints} has not answered for {now.stuck_seconds:.0f} s")
    if now.refusal:
        troubles.append(now.refusal)
    elif now.space is not None and now.space.words:
        notes.append(now.space.words)
    most, waiting = now.most_unsealed_bytes, now.unsealed_bytes
    if most and waiting >= NEARLY * most:
        troubles.append(
            f"{waiting / MIB:.0f} MiB of the log wait for the object storage, {most / MIB:.0f} MiB may; then no "
            f"transaction is taken any more: {now.sealing_trouble or 'it is slower than what is written'}"
        )
    seconds = max(writes_fail_seconds, now.sealing_fails_seconds)
    if seconds > 0:
        said = f"the object storage has taken no write for {seconds:.0f} s: {writes_trouble or now.sealing_trouble}"
        (troubles if seconds > UNWRITTEN_SECONDS else notes).append(said)
    if now.checkpoint_trouble:
        notes.append(f"no checkpoint can be made: {now.checkpoint_trouble}")
    return Condition(tuple(troubles), tuple(notes))
