"""Checkpoints and collecting as an explicit-state model: every step is one request, a loss, or the end of a process.

The sealed log is one history here (`store_protocol` has what makes it one); a segment holds one batch. A process that
takes no step is paused, for longer than any age: so ages protect nothing here, as they must not. A manifest names its
own data file, and with an odd `covers` those of the manifest before, too. A mutant is a rule that is left out or done
wrong; each must be found.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

MUTANTS = {
    "publish without asking what is published",
    "collect what covers more",
    "collect after another's manifest",
    "collect files that the newest alone does not name",
    "collect the last segment, too",
    "collect segments up to what is sealed",
}
COVER_LESS = "cover less than what is published"
"""A mutant, too; it takes a lost data file to be found."""

Id = tuple[int, int, int]
"""Covers, epoch, and what the base covers: of a manifest and of the data file that was made for it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    id: Id
    files: frozenset[Id]
    previous: Id | None


@dataclass(frozen=True, slots=True)
class Etcd:
    owner: int
    life: int
    pointer: Manifest | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """A request that may still arrive."""

    owner: int
    life: int
    known: Manifest | None
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Writer:
    """A process: `known` is what it thinks is published, `making` what it makes, with how much of it is stored."""

    epoch: int
    life: int
    base: Manifest | None
    known: Manifest | None
    making: Manifest | None = None
    stored: int = 0
    listed: "Objects | None" = None
    doomed: tuple[tuple[str, Id], ...] | None = None
    """What it deletes, in this order, one after the other."""
    tried: frozenset[Manifest] = frozenset()


@dataclass(frozen=True, slots=True)
class Objects:
    manifests: frozenset[Manifest] = frozenset()
    files: frozenset[Id] = frozenset()
    segments: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class State:
    etcd: Etcd | None = None
    backup: Etcd | None = None
    ost: Objects = Objects()
    sealed: int = 0
    epochs: int = 0
    lives: int = 0
    losses: int = 0
    writers: tuple[Writer | None, ...] = (None, None)
    late: Publication | None = None
    damages: int = 0
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    epochs: int = 2
    sealed: int = 3
    losses: int = 0
    late: bool = False
    """Whether publications may arrive late."""
    collect: bool = True
    damages: int = 0
    """How many data files of what is published are lost on the object storage."""
    parts: bool = False
    """Whether a checkpoint may cover a part of what is sealed, as one does that would take too much memory."""


def newest_whole(state: State) -> Manifest | None:
    """Return the manifest with which an opening begins."""
    for each in sorted(state.ost.manifests, key=lambda manifest: manifest.id, reverse=True):
        if _whole(state, each):
            return each
    return None


def _whole(state: State, manifest: Manifest) -> bool:
    covers = manifest.id[0]
    return manifest.files <= state.ost.files and set(range(covers, state.sealed + 1)) <= state.ost.segments


def steps(state: State, mutant: str, bounds: Bounds) -> Iterator[tuple[str, State]]:
    """Return every step from a state, with its name."""
    for at, writer in enumerate(state.writers):
        if writer is not None:
            yield f"{at} dies", _set(state, at, None)
            yield from _work(state, at, writer, mutant, bounds)
        elif state.epochs < bounds.epochs and state.sealed < bounds.sealed:
            yield f"{at} opens", _open(state, at)
    if state.late is not None:
        yield "a publication arrives late", _publish(replace(state, late=None), state.late, mutant)[0]
    published = None if state.etcd is None else state.etcd.pointer
    if published is not None and state.damages < bounds.damages:
        for name in sorted(published.files & state.ost.files):
            ost = replace(state.ost, files=state.ost.files - {name})
            yield "a data file is lost", replace(state, ost=ost, damages=state.damages + 1)
    if state.losses < bounds.losses and state.etcd is not None:
        yield "etcd is wiped", replace(state, etcd=None, losses=state.losses + 1)
        if state.backup is None:
            yield "etcd is backed up", replace(state, backup=state.etcd)
        elif state.backup != state.etcd:
            yield "etcd is set back", replace(state, etcd=state.backup, losses=state.losses + 1)


def _set(state: State, at: int, writer: Writer | None) -> State:
    writers = list(state.writers)
    writers[at] = writer
    return replace(state, writers=tuple(writers))


def _open(state: State, at: int) -> State:
    """Take an epoch and the store, load, and seal a batch of one's own."""
    base, epoch = newest_whole(state), state.epochs + 1
    if state.etcd is None:
        etcd = Etcd(epoch, state.lives + 1, base)
        state = replace(state, lives=etcd.life)
    else:
        etcd = replace(state.etcd, owner=epoch)
    sealed = state.sealed + 1
    ost = replace(state.ost, segments=state.ost.segments | {sealed})
    state = replace(state, etcd=etcd, epochs=epoch, sealed=sealed, ost=ost)
    return _set(state, at, Writer(epoch, etcd.life, base, etcd.pointer))


def _work(state: State, at: int, writer: Writer, mutant: str, bounds: Bounds) -> Iterator[tuple[str, State]]:
    owns = state.etcd is not None and (state.etcd.owner, state.etcd.life) == (writer.epoch, writer.life)
    if owns and state.sealed < bounds.sealed:
        sealed = state.sealed + 1
        ost = replace(state.ost, segments=state.ost.segments | {sealed})
        yield f"{at} seals", replace(state, sealed=sealed, ost=ost)
    if writer.listed is not None or writer.doomed is not None:
        yield from _collect(state, at, writer, mutant)
    elif writer.making is not None:
        yield from _make(state, at, writer, writer.making, mutant, bounds)
    else:
        known = None if mutant == COVER_LESS else writer.known
        covered = max((each.id[0] for each in (writer.base, known) if each is not None), default=0)
        # Segments that the base covers may be gone; those after it were there when it was opened.
        for covers in range(covered + 1 if bounds.parts else max(covered + 1, state.sealed), state.sealed + 1):
            own = (covers, writer.epoch, 0 if writer.base is None else writer.base.id[0])
            before = writer.base.files if writer.base is not None and covers % 2 else frozenset()
            previous = None if writer.base is None else writer.base.id
            making = Manifest(own, before | {own}, previous)
            yield f"{at} begins a checkpoint of {covers}", _set(state, at, replace(writer, making=making))
        mine = writer.base is not None and writer.base == writer.known and writer.base.id[1] == writer.epoch
        other = mutant == "collect after another's manifest" and writer.base is not None
        if bounds.collect and (mine or other):
            yield f"{at} lists", _set(state, at, replace(writer, listed=state.ost))


# making


def _make(
    state: State, at: int, writer: Writer, making: Manifest, mutant: str, bounds: Bounds
) -> Iterator[tuple[str, State]]:
    after = _set(state, at, replace(writer, stored=writer.stored + 1))
    files, manifests = state.ost.files | {making.id}, state.ost.manifests | {making}
    order = [replace(state.ost, files=files), replace(state.ost, manifests=manifests)]
    if writer.stored < len(order):
        yield f"{at} stores a part", replace(after, ost=order[writer.stored])
        return
    asked = Publication(writer.epoch, writer.life, writer.known, making)
    if bounds.late and state.late is None:
        tried = replace(writer, making=None, stored=0, tried=writer.tried | {making})
        yield f"{at} publishes, it is on its way", replace(_set(state, at, tried), late=asked)
    answered, done = _publish(state, asked, mutant)
    if done:
        told = replace(writer, base=making, known=making, making=None, stored=0, tried=frozenset())
        yield f"{at} publishes", _set(answered, at, told)
        lost = replace(writer, making=None, stored=0, tried=writer.tried | {making})
        yield f"{at} publishes, the answer is lost", _set(answered, at, lost)
        return
    etcd = state.etcd
    if etcd is not None and (etcd.owner, etcd.life) == (writer.epoch, writer.life) and etcd.pointer in writer.tried:
        found = replace(writer, base=etcd.pointer, known=etcd.pointer, making=None, stored=0, tried=frozenset())
        yield f"{at} finds that it has published", _set(state, at, found)
    else:
        yield f"{at} is fenced", _set(state, at, None)


def _publish(state: State, asked: Publication, mutant: str) -> tuple[State, bool]:
    etcd = state.etcd
    if etcd is None:
        return state, False
    owner = (etcd.owner, etcd.life) == (asked.owner, asked.life)
    same = etcd.pointer == asked.known or mutant == "publish without asking what is published"
    if not owner or not same:
        return state, False
    back = etcd.pointer is not None and etcd.pointer.id[0] > asked.manifest.id[0]
    state = replace(state, etcd=replace(etcd, pointer=asked.manifest), broken="covers never goes back" if back else "")
    return state, True


# collecting


def _collect(state: State, at: int, writer: Writer, mutant: str) -> Iterator[tuple[str, State]]:
    if writer.doomed is None:
        etcd = state.etcd
        mine = etcd is not None and (etcd.owner, etcd.life, etcd.pointer) == (writer.epoch, writer.life, writer.known)
        if not mine:
            yield f"{at} is fenced", _set(state, at, None)
        else:
            doomed = _doomed(state, writer, mutant)
            yield f"{at} looks again", _set(state, at, replace(writer, listed=None, doomed=doomed))
    elif not writer.doomed:
        yield f"{at} has collected", _set(state, at, replace(writer, doomed=None))
    else:
        (kind, name), *rest = writer.doomed
        ost = state.ost
        if kind == "manifest":
            ost = replace(ost, manifests=frozenset(each for each in ost.manifests if each.id != name))
        elif kind == "file":
            ost = replace(ost, files=ost.files - {name})
        else:
            ost = replace(ost, segments=ost.segments - {name[0]})
        yield f"{at} deletes a {kind}", replace(_set(state, at, replace(writer, doomed=tuple(rest))), ost=ost)


def _doomed(state: State, writer: Writer, mutant: str) -> tuple[tuple[str, Id], ...]:
    """Return all that is superfluous of what was listed; nothing before the newest is kept for long."""
    listed, newest = writer.listed, writer.base
    if listed is None or newest is None:
        return ()

    def ours(name: Id) -> bool:
        return name[1] <= writer.epoch

    kept = {newest} | {
        each
        for each in listed.manifests
        if not ours(each.id) or (each.id[0] > newest.id[0] and mutant != "collect what covers more")
    }
    if mutant == "collect files that the newest alone does not name":
        named = newest.files
    else:
        named = frozenset(name for each in kept for name in each.files)
    first = min(each.id[0] for each in kept)
    if mutant == "collect segments up to what is sealed":
        first = state.sealed
    if mutant == "collect the last segment, too":
        first += 1
    manifests = [("manifest", each.id) for each in listed.manifests - kept]
    files = [("file", name) for name in listed.files if ours(name) and name not in named]
    segments = [("segment", (number, 0, 0)) for number in listed.segments if number < first]
    return (*sorted(manifests), *sorted(files), *sorted(segments))


# promises


def broken_promise(state: State) -> str:
    """Return the promise that a step breaks, or nothing."""
    if state.broken:
        return state.broken
    if newest_whole(state) is None and set(range(1, state.sealed + 1)) - state.ost.segments:
        return "all that is sealed can be read"
    etcd = state.etcd
    whole = etcd is None or etcd.pointer is None or _whole(state, etcd.pointer)
    if not whole and not state.losses and not state.damages:
        return "what etcd names is whole"
    return ""


@dataclass(frozen=True, slots=True)
class Verdict:
    states: int
    promise: str = ""
    way: tuple[str, ...] = ()


def explore(*, mutant: str = "", bounds: Bounds | None = None) -> Verdict:
    """Visit all states, nearest first, until a promise is broken."""
    limits = bounds or Bounds()
    start = State()
    came: dict[State, tuple[State, str] | None] = {start: None}
    queue = deque([start])
    while queue:
        state = queue.popleft()
        for name, following in steps(state, mutant, limits):
            promise = broken_promise(following)
            if promise:
                return Verdict(len(came), promise, (*_way(came, state), name))
            same = replace(following, writers=tuple(sorted(following.writers, key=_order)))
            if same not in came:
                came[same] = (state, name)
                queue.append(same)
    return Verdict(len(came))


def _order(writer: Writer | None) -> int:
    """Processes differ by what they know alone."""
    return 0 if writer is None else writer.epoch


def _way(came: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    names: list[str] = []
    while (step := came[state]) is not None:
        state, name = step
        names.append(name)
    return tuple(reversed(names))
