"""The protocol of a store as an explicit-state model: commit, seal, crash, pause, opening, loss and restore of etcd.

A history is a tuple of transactions, so two chains are equal if their tuples are. Every step is one request to etcd or
to the object storage, or a loss; a process that takes no step is paused. `explore` visits every state that a few
processes and transactions can reach, and names the first promise that one of them breaks, with the way to it. A mutant
is a rule that is left out or done wrong; each must be found.

With `Bounds.durable`, callers are told of a transaction only when it is sealed, and no loss of etcd excuses anything.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

History = tuple[int, ...]

MUTANTS = {
    "commit without a compare",
    "take any answer for success",
    "acknowledge before it is applied",
    "overwrite a segment",
    "adopt a segment unread",
    "point back",
    "trim what is not sealed",
    "count epochs in etcd alone",
    "believe etcd when it was set back",
    "drop what is refused",
    "seal nothing of one's own first",
}
DURABLE_MUTANTS = {
    "tell what etcd alone has",
    "tell all that wait of any seal",
    "tell all that wait at the end",
    "tell by the number that etcd says is sealed",
}
"""Of what is told when it is sealed; where etcd's answer is enough, none of these rules is used."""
BY_REVISION = "compare the head's revision, not its value"
"""A mutant, too; it alone has revisions in its states."""


@dataclass(frozen=True, slots=True)
class Etcd:
    """What etcd holds: the head (life, epoch, history), what is said to be sealed, how much of the log is deleted."""

    life: int
    epoch: int
    history: History
    sealed: int = 0
    trimmed: int = 0
    revision: int = 0
    """How often the head was written; kept where a mutant compares it. It begins anew when etcd is wiped."""


@dataclass(frozen=True, slots=True)
class Writer:
    """A process; `view` is what it has applied, `sending` a transaction without an answer, `stored` one of its segments
    that etcd has not been told of, `told` the last one that a caller was told of. It has to load (`loaded`),
    and to commit and seal an empty batch of its own, before it is `ready` for anybody's transaction."""

    life: int
    epoch: int
    view: History
    sealed: int = 0
    pointer: int = 0
    sending: int = 0
    stored: int = 0
    told: int = 0
    waiting: tuple[int, ...] = ()
    """Transactions that etcd has and nobody was told of, since they are not sealed."""
    losses: int = 0
    """How often etcd had lost something when it loaded."""
    loaded: bool = False
    ready: bool = False
    revision: int = 0
    """Of the head that it has read or written."""


@dataclass(frozen=True, slots=True)
class State:
    etcd: Etcd | None = None
    backup: Etcd | None = None
    segments: tuple[tuple[int, History], ...] = ()
    """First sequence and the history up to the last one."""
    epochs: frozenset[int] = frozenset()
    writers: tuple[Writer | None, ...] = (None, None)
    lives: int = 0
    sent: int = 0
    acknowledged: frozenset[int] = frozenset()
    excused: frozenset[int] = frozenset()
    """Acknowledged, not sealed, and lost with etcd's data."""
    apart: frozenset[int] = frozenset()
    """Acknowledged by a writer that did not notice that etcd had been set back; to be put aside if it is refused."""
    aside: frozenset[int] = frozenset()
    losses: int = 0
    durable: bool = False
    """Nobody is told of what is not sealed."""
    broken: str = ""
    """The promise that the last step broke."""


@dataclass(frozen=True, slots=True)
class Bounds:
    transactions: int = 3
    epochs: int = 3
    losses: int = 1
    durable: bool = False
    backups: bool = True
    """Whether etcd may be set back, too, and not only be wiped."""


def sealed_history(state: State) -> History | None:
    """Return the history on the object storage, None if its segments do not fit together."""
    history: History = ()
    segments = dict(state.segments)
    while (found := segments.pop(len(history) + 1, None)) is not None:
        if found[: len(history)] != history:
            return None
        history = found
    return history if not segments else None


def truth(state: State) -> History:
    """Return what an opening would go on from now."""
    sealed = sealed_history(state) or ()
    return state.etcd.history if state.etcd is not None and _continues(state.etcd.history, sealed) else sealed


def _continues(history: History, sealed: History) -> bool:
    return history[: len(sealed)] == sealed


def steps(state: State, mutant: str, bounds: Bounds) -> Iterator[tuple[str, State]]:
    """Return every step from a state, with its name."""
    for at, writer in enumerate(state.writers):
        if writer is not None:
            yield f"{at} dies", _set(state, at, None)
            yield from _work(state, at, writer, mutant, bounds)
        elif len(state.epochs) < bounds.epochs:
            yield f"{at} opens", _open(state, at, mutant)
    if state.losses < bounds.losses and state.etcd is not None:
        yield "etcd is wiped", _lost(replace(state, etcd=None, losses=state.losses + 1))
        if state.backup is None and bounds.backups:
            yield "etcd is backed up", replace(state, backup=state.etcd)
    if state.losses < bounds.losses and state.backup is not None:
        yield "etcd is set back", _lost(replace(state, etcd=state.backup, losses=state.losses + 1))


def _work(state: State, at: int, writer: Writer, mutant: str, bounds: Bounds) -> Iterator[tuple[str, State]]:
    if not writer.loaded:
        yield f"{at} loads", _load(state, at, writer, mutant)
        return
    if not writer.ready and not writer.sending and writer.sealed == len(writer.view):
        yield f"{at} is ready", _set(state, at, replace(writer, ready=True))
    if writer.ready and not writer.sending and state.sent < bounds.transactions:
        yield f"{at} begins", replace(_set(state, at, replace(writer, sending=state.sent + 1)), sent=state.sent + 1)
    if writer.sending:
        yield from _commit(state, at, writer, mutant)
    if writer.told and writer.told not in writer.view:
        yield f"{at} applies", _set(state, at, replace(writer, view=(*writer.view, writer.told)))
    if mutant == "tell by the number that etcd says is sealed" and writer.waiting and state.etcd is not None:
        yield f"{at} sees how much is sealed", _tell(state, at, writer, state.etcd.sealed)
    yield from _seal(state, at, writer, mutant)


def _stop(state: State, at: int, writer: Writer, mutant: str) -> State:
    """End a writer; those who wait do not know what becomes of their transactions."""
    if mutant == "tell all that wait at the end":
        state = replace(state, acknowledged=state.acknowledged | frozenset(writer.waiting))
    return _set(state, at, None)


def _tell(state: State, at: int, writer: Writer, sealed: int) -> State:
    """Tell those who wait for a batch that is among so many sealed ones."""
    done = tuple(tx for tx in writer.waiting if tx in writer.view[:sealed])
    if not done:
        return _set(state, at, writer)
    left = tuple(tx for tx in writer.waiting if tx not in done)
    told = replace(writer, waiting=left, told=done[-1])
    return _set(replace(state, acknowledged=state.acknowledged | frozenset(done)), at, told)


def _set(state: State, at: int, writer: Writer | None) -> State:
    writers = list(state.writers)
    writers[at] = writer
    return replace(state, writers=tuple(writers))


def _lost(state: State) -> State:
    if state.durable:
        return state
    return replace(state, excused=state.excused | (state.acknowledged - frozenset(truth(state))))


# opening


def _open(state: State, at: int, mutant: str) -> State:
    """Take an epoch and fence; with an empty etcd there is nobody to fence."""
    etcd = state.etcd
    before = max(state.epochs, default=0)
    if mutant == "count epochs in etcd alone":
        before = 0
    epoch = max(before, 0 if etcd is None else etcd.epoch) + 1
    broken = "an epoch is given once" if epoch in state.epochs else ""
    state = replace(state, epochs=state.epochs | {epoch}, broken=broken)
    if etcd is None:
        return _set(state, at, Writer(0, epoch, ()))
    revision = _next_revision(etcd, mutant)
    state = replace(state, etcd=replace(etcd, epoch=epoch, revision=revision))
    return _set(state, at, Writer(etcd.life, epoch, etcd.history, revision=revision))


def _next_revision(etcd: Etcd | None, mutant: str) -> int:
    """Return the revision of the head after the next write; only the mutant that reads it makes states differ by it."""
    return 0 if mutant != BY_REVISION else 1 if etcd is None else etcd.revision + 1


def _load(state: State, at: int, writer: Writer, mutant: str) -> State:
    """Read both places and judge; set etcd right on the condition that nobody changed it."""
    etcd, sealed = state.etcd, sealed_history(state)
    if sealed is None:
        return replace(state, broken="the segments are one history")
    if etcd is None:
        if writer.life:
            return _set(state, at, None)  # it was there when we began: begin again
        return _begin_life(state, at, writer, sealed, mutant)
    if (writer.life, writer.epoch, writer.view) != (etcd.life, etcd.epoch, etcd.history):
        return _set(state, at, None)
    if etcd.sealed > len(sealed):
        return replace(state, broken="what etcd says is sealed is there")
    if _continues(etcd.history, sealed) or mutant == "believe etcd when it was set back":
        if etcd.trimmed > len(sealed):
            return replace(state, broken="what is not sealed is in etcd")
        done = replace(writer, view=etcd.history, sealed=len(sealed), pointer=etcd.sealed, losses=state.losses)
        return _set(state, at, _joining(done, mutant))
    if mutant != "drop what is refused":
        state = replace(state, aside=state.aside | (frozenset(etcd.history) - frozenset(sealed)))
    return _begin_life(state, at, writer, sealed, mutant)


def _begin_life(state: State, at: int, writer: Writer, sealed: History, mutant: str) -> State:
    """Replace what etcd has by the history on the object storage; no older writer's compare holds any more."""
    life = state.lives + 1
    size = len(sealed)
    lost = state.apart - state.aside - frozenset(sealed)
    broken = "what is refused is kept" if lost else ""
    revision = _next_revision(state.etcd, mutant)
    etcd = Etcd(life, writer.epoch, sealed, size, size, revision)
    state = replace(state, etcd=etcd, lives=life, broken=broken)
    begun = Writer(life, writer.epoch, sealed, size, size, losses=state.losses, revision=revision)
    return _set(state, at, _joining(begun, mutant))


def _joining(writer: Writer, mutant: str) -> Writer:
    if mutant == "seal nothing of one's own first":
        return replace(writer, loaded=True, ready=True)
    return replace(writer, loaded=True, sending=-writer.epoch)


# committing


def _commit(state: State, at: int, writer: Writer, mutant: str) -> Iterator[tuple[str, State]]:
    etcd, written = state.etcd, (*writer.view, writer.sending)
    if etcd is None:
        yield f"{at} finds no head", _stop(state, at, writer, mutant)
        return
    holds = (etcd.life, etcd.epoch, etcd.history) == (writer.life, writer.epoch, writer.view)
    if mutant == "commit without a compare":
        holds = True
    if mutant == BY_REVISION:
        holds = etcd.revision == writer.revision
    if holds:
        revision = _next_revision(etcd, mutant)
        head = replace(etcd, epoch=writer.epoch, life=writer.life, history=written, revision=revision)
        after = replace(state, etcd=head)
        yield f"{at} writes, its answer is lost", after
        yield f"{at} writes", _acknowledge(after, at, replace(writer, revision=revision), mutant)
    elif etcd.history[: len(written)] == written or mutant == "take any answer for success":
        newest = (etcd.life, etcd.epoch, etcd.history) == (writer.life, writer.epoch, written)
        found = replace(writer, revision=etcd.revision if newest else writer.revision)
        yield f"{at} finds that it has written", _acknowledge(state, at, found, mutant)
    else:
        yield f"{at} is fenced", _stop(state, at, writer, mutant)


def _acknowledge(state: State, at: int, writer: Writer, mutant: str) -> State:
    tx = writer.sending
    if tx < 0:
        return _set(state, at, replace(writer, view=(*writer.view, tx), sending=0))
    if state.durable and mutant != "tell what etcd alone has":
        waits = replace(writer, view=(*writer.view, tx), sending=0, waiting=(*writer.waiting, tx))
        return _set(state, at, waits)
    apart = state.apart | {tx} if writer.losses < state.losses and not state.durable else state.apart
    view = writer.view if mutant == "acknowledge before it is applied" else (*writer.view, tx)
    told = replace(writer, view=view, sending=0, told=tx)
    return _set(replace(state, acknowledged=state.acknowledged | {tx}, apart=apart), at, told)


# sealing


def _seal(state: State, at: int, writer: Writer, mutant: str) -> Iterator[tuple[str, State]]:
    etcd, first = state.etcd, writer.sealed + 1
    if writer.stored:
        if etcd is None or etcd.life != writer.life:
            yield f"{at} finds another life", _stop(state, at, writer, mutant)
        elif etcd.sealed != writer.pointer and mutant != "point back":
            yield f"{at} finds another seal", _set(state, at, replace(writer, pointer=etcd.sealed))
        else:
            yield f"{at} tells of its segment", _point(state, at, writer, etcd, mutant)
        return
    if len(writer.view) < first or etcd is None:
        return
    # The head was read before; it may have changed since, so that this is a step of a paused process, too.
    found = dict(state.segments).get(first)
    if found is None or mutant == "overwrite a segment":
        segments = tuple(sorted((dict(state.segments) | {first: writer.view}).items()))
        yield (
            f"{at} stores a segment",
            replace(_set(state, at, replace(writer, stored=len(writer.view))), segments=segments),
        )
    elif writer.view[: len(found)] == found or mutant == "adopt a segment unread":
        yield f"{at} adopts a segment", _set(state, at, replace(writer, stored=len(found)))
    else:
        yield f"{at} finds another history", _stop(state, at, writer, mutant)


def _point(state: State, at: int, writer: Writer, etcd: Etcd, mutant: str) -> State:
    done = replace(writer, sealed=writer.stored, stored=0, pointer=max(writer.pointer, writer.stored))
    told = len(writer.view) if mutant == "tell all that wait of any seal" else writer.stored
    if etcd.sealed >= writer.stored and mutant != "point back":
        return _tell(state, at, done, told)
    until = len(etcd.history) if mutant == "trim what is not sealed" else writer.stored
    after = replace(etcd, sealed=writer.stored, trimmed=max(etcd.trimmed, until))
    broken = "sealed never goes back" if writer.stored < etcd.sealed else ""
    return replace(_tell(state, at, done, told), etcd=after, broken=broken)


# promises


def broken_promise(before: State, state: State) -> str:
    """Return the promise that a step breaks, or nothing."""
    if state.broken:
        return state.broken
    old, new = sealed_history(before), sealed_history(state)
    if new is None:
        return "the segments are one history"
    if old is not None and not _continues(new, old):
        return "what is sealed stays"
    if state.acknowledged - frozenset(truth(state)) - state.excused - state.apart:
        return "what is acknowledged is there"
    for writer in state.writers:
        if writer is not None and writer.ready and writer.told and writer.told not in writer.view:
            return "what is acknowledged is seen"
    if len(set(truth(state))) < len(truth(state)):
        return "a transaction happens once"
    return ""


@dataclass(frozen=True, slots=True)
class Verdict:
    states: int
    promise: str = ""
    way: tuple[str, ...] = ()


def explore(*, mutant: str = "", bounds: Bounds | None = None) -> Verdict:
    """Visit all states, nearest first, until a promise is broken."""
    limits = bounds or Bounds()
    start = State(durable=limits.durable)
    came: dict[State, tuple[State, str] | None] = {start: None}
    queue = deque([start])
    while queue:
        state = queue.popleft()
        for name, following in steps(state, mutant, limits):
            promise = broken_promise(state, following)
            if promise:
                return Verdict(len(came), promise, (*_way(came, state), name))
            if following not in came:
                came[following] = (state, name)
                queue.append(following)
    return Verdict(len(came))


def _way(came: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    names: list[str] = []
    while (step := came[state]) is not None:
        state, name = step
        names.append(name)
    return tuple(reversed(names))
