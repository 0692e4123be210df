"""A task's log, split into the exact bytes of each step while it comes in, in bounded memory.

Pure. The markers that make it possible are described in docs/internals/toolbox.md. What always holds: a byte is given
out at most once, at its own offset, and in order within its step; what cannot be given out is named in a notice, never
left out silently; however the log was cut, repeated or read again from somewhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from runabout.executors.markers import SETUP, Kind, Marker, MarkerScanner
from runabout.executors.splitstate import SplitState, StepProgress
from runabout.records import Status

LOST: Final = "the container's log no longer has them"
"""Why bytes are missing, where nobody gives a better reason: rotated away before they were read."""

_MAX_HELD: Final = 256 << 10
"""More than can lie between two markers, even with a jump in between (128 KiB): beyond it the place is unknown."""


class Lack(StrEnum):
    """What is not known of a step's output."""

    BYTES = "bytes"
    """some bytes, from one to another"""
    UNKNOWN = "unknown"
    """some bytes from one on; where those that follow belong is not known"""
    END = "end"
    """whether there are any from one on"""
    ALL = "all"
    """everything, of all steps"""
    LATER = "later"
    """whether the step has begun at all"""


@dataclass(frozen=True, slots=True)
class Gap:
    """What is missing of a step, which people know as `title`, and why: bytes from `start` on, to before `end`."""

    lack: Lack
    title: str
    why: str
    start: int
    end: int | None = None

    def line(self, *, goes_on: bool = False) -> bytes:
        """Return the line that says so; `goes_on`: a later step has begun."""
        match self.lack:
            case Lack.BYTES:
                last = (self.end or 0) - 1
                text = f"bytes {self.start}–{last} of {self.title} are missing: {self.why}"  # noqa: RUF001 -- a range, read by people
            case Lack.UNKNOWN:
                text = f"an unknown number of bytes from byte {self.start} on are missing: {self.why}"
            case Lack.END | Lack.LATER if goes_on:
                text = f"the bytes of {self.title} from byte {self.start} on, if any, are missing: {self.why}"
            case Lack.END | Lack.LATER:
                text = f"{self.title} did not end: {self.why}"
            case Lack.ALL:
                text = f"the task has no log: {self.why}"
        return f"[runabout: {text}]\n".encode()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of one step (-1: the setup): `data` is its output from byte `offset` on.

    One with a `gap` is a line about the output, standing before byte `offset` of it, not part of it. All chunks of a
    step, in the order in which they come, are its log.
    """

    step: int
    offset: int
    data: bytes
    gap: Gap | None = None

    @property
    def notice(self) -> bool:
        """Whether it is a line about the output."""
        return self.gap is not None


class StepLogSplitter:
    """Splits one container's log.

    `feed` gives out what later markers have confirmed; `flush` also what came since: call it when nothing has come for
    a moment, so that whoever looks on sees it. After `finish` the splitter is used up.
    """

    def __init__(self, steps: Sequence[str], resume: SplitState | None = None) -> None:
        """Begin with the task's step names, or go on from `resume`, a state of the same steps."""
        if resume is not None and tuple(steps) != tuple(progress.name for progress in resume.steps):
            raise ValueError(f"the state to resume from has other steps than {', '.join(steps)}")
        state = resume or SplitState(
            setup=StepProgress("setup", Status.RUNNING),
            steps=tuple(StepProgress(name) for name in steps),
        )
        self._progress = [state.setup, *state.steps]  # a step's number + 1 is its place
        self._complete = state.complete
        self._scanner = MarkerScanner(state.nonce)
        self._place: tuple[int, int] | None = None  # step and offset where the held bytes begin, if known
        self._held: list[bytes] = []
        self._held_size = 0
        self._out: list[Chunk] = []

    @property
    def nonce(self) -> str | None:
        """The log's nonce, once a marker has been seen."""
        return self._scanner.nonce

    @property
    def complete(self) -> bool:
        """Whether the log has been read to its end: the toolbox has said that nothing follows."""
        return self._complete

    @property
    def state(self) -> SplitState:
        """What to go on from, as far as bytes have been given out."""
        setup, *steps = self._progress
        return SplitState(setup=setup, steps=tuple(steps), nonce=self.nonce, complete=self._complete)

    def feed(self, data: bytes) -> list[Chunk]:
        """Take the next bytes of the log."""
        for token in self._scanner.feed(data):
            if isinstance(token, Marker):
                self._mark(token)
            else:
                self._hold(token)
        return self._given_out()

    def flush(self) -> list[Chunk]:
        """Give out what is not confirmed yet, but for a last newline that may not be output."""
        self._trust_held()
        return self._given_out()

    def reconnected(self) -> list[Chunk]:
        """Say that the next bytes come from a new request, from wherever the log begins now."""
        self._trust_held()
        self._scanner.restart()
        self._move(None)
        return self._given_out()

    def finish(self, reason: str | None = None, sizes: Sequence[int] | None = None) -> list[Chunk]:
        """End the log. `reason` says in a few words why it may be incomplete ("OOM-killed", "evicted").

        `sizes` are the bytes of the setup and of the steps, from this log's own summary, where there is one. The last
        request must have ended well: where it broke, `reconnected` drops the unfinished line, which may be an error
        that the server appended.
        """
        for token in self._scanner.finish():
            if isinstance(token, bytes):
                self._hold(token)
        self._attach_orphans(reason or LOST)
        self._trust_held()
        if sizes is not None:
            self._learn_sizes(sizes, reason or LOST)
        if not self._complete:
            self._close(reason)
        return self._given_out()

    def unseen(self, reason: str | None = None) -> list[tuple[int, Gap]]:
        """Return the steps of which nobody can say whether they have begun: a log that is complete has none."""
        why = reason or "its log ends here"
        return [
            (step, Gap(Lack.LATER, title(step, progress.name), why, 0))
            for step, progress in enumerate(self._progress, start=SETUP)
            if not self._complete and progress.size is None and step > self._latest()
        ]

    def _mark(self, marker: Marker) -> None:
        match marker.kind:
            case Kind.LOG:
                self._move((SETUP, 0))
            case Kind.BEGIN if self._has(marker.step):
                self._learn_sizes(marker.sizes, LOST)
                self._begun(marker)
                self._move((marker.step, 0))
            case Kind.AT if self._has(marker.step):
                self._begun(marker)
                self._confirm(marker)
            case Kind.END if self._has(marker.step):
                self._begun(marker)
                self._confirm(marker)
                self._ended(marker)
                self._move(None)
            case Kind.DONE:
                self._learn_sizes(marker.sizes, LOST)
                self._complete = True
                self._move(None)
            case _:  # a step that this task does not have: not of this task's toolbox
                self._move(None)

    def _has(self, step: int) -> bool:
        return SETUP <= step < len(self._progress) - 1

    def _confirm(self, marker: Marker) -> None:
        """Give out what is held if the marker says where it belongs; else name it missing, unless it is a repeat."""
        start = marker.offset - self._held_size
        if self._place in {None, (marker.step, start)} and start >= 0:
            self._give(marker.step, start, b"".join(self._held), LOST)
        self._name_missing(marker.step, marker.offset, LOST)
        self._move((marker.step, marker.offset))

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_size += len(data)
        if self._held_size > _MAX_HELD:
            self._move(None)

    def _move(self, place: tuple[int, int] | None) -> None:
        self._place = place
        self._held.clear()
        self._held_size = 0

    def _trust_held(self) -> None:
        if self._place is not None and self._held:
            step, start = self._place
            end = start + self._held_size
            self._give(step, start, b"".join(self._held), LOST)
            self._move((step, end))

    def _give(self, step: int, start: int, data: bytes, reason: str) -> None:
        self._name_missing(step, start, reason)
        progress = self._progress[step + 1]
        fresh = data[max(0, progress.given - start) :]
        if fresh:
            self._out.append(Chunk(step, progress.given, fresh))
            self._progress[step + 1] = replace(
                progress,
                given=progress.given + len(fresh),
                line_open=not fresh.endswith(b"\n"),
            )

    def _name_missing(self, step: int, until: int, reason: str) -> None:
        """Name what lies between the last byte given out and byte `until`, if anything does."""
        progress = self._progress[step + 1]
        if until > progress.given:
            self._notice(step, Lack.BYTES, reason, until)
            self._progress[step + 1] = replace(self._progress[step + 1], given=until)

    def _notice(self, step: int, lack: Lack, reason: str, until: int | None = None, *, goes_on: bool = False) -> None:
        progress = self._progress[step + 1]
        gap = Gap(lack, title(step, progress.name), reason, progress.given, until)
        line = (b"\n" if progress.line_open else b"") + gap.line(goes_on=goes_on)
        self._out.append(Chunk(step, progress.given, line, gap))
        self._progress[step + 1] = replace(progress, line_open=False)

    def _begun(self, marker: Marker) -> None:
        """Take note that a step has begun, and thus every step before it succeeded."""
        progress = self._progress[marker.step + 1]
        if progress.status == Status.NOTSTARTED:
            started = marker.time if marker.kind == Kind.BEGIN else None
            self._progress[marker.step + 1] = replace(progress, status=Status.RUNNING, started=started)
        for step in range(marker.step + 1):
            earlier = self._progress[step]
            if earlier.status in {Status.NOTSTARTED, Status.RUNNING}:
                self._progress[step] = replace(earlier, status=Status.SUCCESS, exit_code=0)

    def _ended(self, marker: Marker) -> None:
        self._progress[marker.step + 1] = replace(
            self._progress[marker.step + 1],
            status=marker.status or Status.FAILED,
            exit_code=marker.exit_code,
            ended=marker.time,
            size=marker.offset,
        )

    def _learn_sizes(self, sizes: Sequence[int], reason: str) -> None:
        """Take note of the sizes of what has ended: the setup and the first steps."""
        for step, size in enumerate(sizes[: len(self._progress)], start=SETUP):
            self._name_missing(step, size, reason)
            self._progress[step + 1] = replace(self._progress[step + 1], size=size)

    def _attach_orphans(self, reason: str) -> None:
        """Give to the last that has begun what came with no marker after it: it can belong to nothing else."""
        step = self._latest()
        if self._place is not None or not self._held or self._progress[step + 1].size is not None:
            return
        data = b"".join(self._held)
        given = self._progress[step + 1].given
        if self.nonce is not None:
            self._notice(step, Lack.UNKNOWN, reason)
        self._move((step, given))
        self._hold(data)

    def _latest(self) -> int:
        begun = [
            step for step, progress in enumerate(self._progress, start=SETUP) if progress.status != Status.NOTSTARTED
        ]
        return begun[-1]

    def _close(self, reason: str | None) -> None:
        """Say what the log itself does not: that it ends before its end."""
        why = reason or "its log ends here"
        if self.nonce is None:
            self._notice(SETUP, Lack.ALL, reason or "nothing was written")
            return
        latest = self._latest()
        for step, progress in enumerate(self._progress, start=SETUP):
            if progress.size is None and step <= latest:
                self._notice(step, Lack.END, why, goes_on=step < latest)

    def _given_out(self) -> list[Chunk]:
        out, self._out = self._out, []
        return out


def title(step: int, name: str) -> str:
    """Return how people know a step (-1: the setup)."""
    return "the setup" if step == SETUP else f"step {name}"
