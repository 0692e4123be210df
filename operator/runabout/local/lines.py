"""The logs of attempts: for the collector as bytes, and on the way, for whoever looks on, as lines of steps."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from runabout.control.logs import LogGoneError
from runabout.executors.framedlog import Unframed
from runabout.executors.localdriver import LocalDriver, LogFile
from runabout.executors.markers import SETUP
from runabout.executors.steplog import Chunk, StepLogSplitter

LOOK_SECONDS = 0.05
"""Between two looks whether a log has grown."""
PATIENCE = 4
"""Looks at a log that does not grow, after which a line is shown whose end is not sure yet."""
PIECE = 256 * 1024

Lines = Callable[[str, list[str]], None]
"""Is told of a task's name and new lines of it."""
Steps = Callable[[str], tuple[str, tuple[str, ...]] | None]
"""Returns the task of a pod and the names of its steps; None if nobody looks on."""


@dataclass(slots=True)
class _Shown:
    """How far an attempt was shown."""

    task: str
    splitter: StepLogSplitter
    begun: dict[int, bytes] = field(default_factory=dict)
    """by step, the line that has no end yet"""
    cut: set[int] = field(default_factory=set)
    """steps whose last line was shown before its end came"""


class LocalLogs:
    """See :class:`runabout.control.logs.LogSource`; what is read of steps is shown, each byte once."""

    def __init__(self, driver: LocalDriver, *, steps: Steps, show: Lines) -> None:
        self._driver = driver
        self._steps = steps
        self._show = show
        self._shown: dict[str, _Shown] = {}

    @asynccontextmanager
    async def read(
        self,
        namespace: str,  # noqa: ARG002 - names of pods are enough here
        pod: str,
        container: str,
        *,
        follow: bool,
        previous: bool = False,  # noqa: ARG002 - nothing is started again
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the log at its beginning."""
        log = self._driver.log(pod, container)
        if log is None:
            raise LogGoneError("what executed it is gone, and its log with it")
        yield self._pieces(pod, container, log, follow=follow)

    async def _pieces(self, pod: str, container: str, log: LogFile, *, follow: bool) -> AsyncIterator[bytes]:
        frames = Unframed() if log.framed else None
        with log.path.open("rb", buffering=0) as file:
            if not log.of_service:
                self._again(pod)
            quiet = 0
            while True:
                over = not follow or self._driver.is_over(
                    pod, container
                )  # before the look: nothing comes after its end
                read = file.read(PIECE)
                piece = read if frames is None else frames.feed(read)
                if piece:
                    if not log.of_service:
                        self._tell(pod, piece)
                    quiet = 0
                    yield piece
                elif read:
                    continue
                elif over:
                    if not log.of_service:
                        self._flush(pod, whole=False)
                    return
                else:
                    quiet += 1
                    if quiet in (1, PATIENCE) and not log.of_service:
                        self._flush(pod, whole=quiet < PATIENCE)
                    await asyncio.sleep(LOOK_SECONDS)

    def _again(self, pod: str) -> None:
        shown = self._shown.get(pod)
        if shown is not None:
            self._take(shown, shown.splitter.reconnected())

    def _tell(self, pod: str, piece: bytes) -> None:
        shown = self._shown.get(pod)
        if shown is None:
            whose = self._steps(pod)
            if whose is None:
                return
            shown = self._shown[pod] = _Shown(whose[0], StepLogSplitter(whose[1]))
        self._take(shown, shown.splitter.feed(piece))

    def _flush(self, pod: str, *, whole: bool) -> None:
        """Show what has come; unless only `whole` lines are wanted, also the last one, whose end is not sure yet."""
        shown = self._shown.get(pod)
        if shown is None:
            return
        self._take(shown, shown.splitter.flush())
        if not whole and shown.begun:
            self._show(shown.task, [_text(line) for line in shown.begun.values()])
            shown.cut.update(shown.begun)
            shown.begun.clear()

    def _take(self, shown: _Shown, chunks: list[Chunk]) -> None:
        lines: list[str] = []
        for chunk in chunks:
            if chunk.step == SETUP and not chunk.notice:
                continue  # the toolbox's version
            data = shown.begun.pop(chunk.step, b"") + chunk.data
            if chunk.step in shown.cut:
                shown.cut.discard(chunk.step)
                data = data.removeprefix(b"\n")
            whole, newline, rest = data.rpartition(b"\n")
            if newline:
                lines += map(_text, whole.split(b"\n"))
            if rest:
                shown.begun[chunk.step] = rest
        if lines:
            self._show(shown.task, lines)


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").decode(errors="replace")
