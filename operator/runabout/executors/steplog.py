"""A task's log, split into the exact bytes of each step while it comes in, in bounded memory.

Pure. The markers that make it possible are described in docs/internals/toolbox.md. What always holds: a byte is given
out at most once, at its own offset, and in order within its step; what cannot be given out is named in a notice, never
left out silently; however the log was cut, repeated or read again from somewhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from runabout.executors.markers import SETUP, Kind, Marker, MarkerScanner
from runabout.executors.splitstate import SplitState, StepProgress
from runabout.records import Status

LOST: Final = "the container's log no longer has them"
"""Why bytes are missing, where nobody gives a better reason: rotated away before they were read."""

_MAX_HELD: Final = 256 << 10
"""More than can lie between two markers, even with a jump in between (128 KiB): beyond it the place is unknown."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of one step (-1: the setup): `data` is its output from byte `offset` on.

    A `notice` is a line about the output, standing before byte `offset` of it, not part of it. All chunks of a step,
    in the order in which they come, are its log.
    """

    step: int
    offset: int
    data: bytes
    notice: bool = False


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
            missing = f"{progress.given}–{until - 1}"  # noqa: RUF001 -- a range, read by people
            self._notice(step, f"bytes {missing} of {self._title(step)} are missing: {reason}")
            self._progress[step + 1] = replace(self._progress[step + 1], given=until)

    def _notice(self, step: int, text: str) -> None:
        progress = self._progress[step + 1]
        line = ("\n" if progress.line_open else "") + f"[runabout: {text}]\n"
        self._out.append(Chunk(step, progress.given, line.encode(), notice=True))
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
            self._notice(step, f"an unknown number of bytes from byte {given} on are missing: {reason}")
        self._move((step, given))
        self._hold(data)

    def _title(self, step: int) -> str:
        return "the setup" if step == SETUP else f"step {self._progress[step + 1].name}"

    def _latest(self) -> int:
        begun = [
            step for step, progress in enumerate(self._progress, start=SETUP) if progress.status != Status.NOTSTARTED
        ]
        return begun[-1]

    def _close(self, reason: str | None) -> None:
        """Say what the log itself does not: that it ends before its end."""
        why = reason or "its log ends here"
        if self.nonce is None:
            self._notice(SETUP, f"the task has no log: {reason or 'nothing was written'}")
            return
        latest = self._latest()
        for step, progress in enumerate(self._progress, start=SETUP):
            if progress.size is not None or step > latest:
                continue
            if step < latest:
                self._notice(
                    step, f"the bytes of {self._title(step)} from byte {progress.given} on, if any, are missing: {why}"
                )
            else:
                self._notice(step, f"{self._title(step)} did not end: {why}")

    def _given_out(self) -> list[Chunk]:
        out, self._out = self._out, []
        return out
