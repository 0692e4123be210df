"""What a person sees of a run: on a terminal a tree of its tasks below the lines of their logs, else lines alone."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from runabout.control.status import Wait
from runabout.engine.graph import Graph
from runabout.records import Result, Status, Task

_MARKS = {
    Status.NOTSTARTED: ("·", "dim"),
    Status.RUNNING: ("▸", "cyan"),
    Status.SUCCESS: ("✓", "green"),
    Status.FAILED: ("✗", "red"),
    Status.STOPPED: ("■", "yellow"),
    Status.CANCELLED: ("■", "yellow"),
    Status.SKIPPED: ("-", "dim"),
}
_RESULTS = {Result.SUCCESS: "green", Result.FAILED: "red"}
_COLOURS = ("cyan", "magenta", "blue", "green", "yellow", "bright_cyan", "bright_magenta", "bright_blue")
"""Of tasks' names; a task has the same one each time."""
MOST_TASKS = 30
"""Shown at once; of more, those that are not over come first."""


class _Lines(Console):
    """A console whose reader may go away, as that of `| head` does: the run goes on, and what is left is not shown."""

    def on_broken_pipe(self) -> None:
        """Write nothing any more, neither what Python still has to write at its end."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


class View:
    """Lines on `out`; with `tree` the tasks stand below them, as they are now. `now` is in milliseconds since 1970."""

    def __init__(self, out: TextIO, *, tree: bool, now: Callable[[], int]) -> None:
        self._console = _Lines(file=out, highlight=False, soft_wrap=True, emoji=False, markup=False)
        self._tree = tree
        self._now = now
        self._statuses: dict[str, tuple[Status, int]] = {}
        self._width = 0
        self._graph: Graph | None = None
        self._tasks: Mapping[str, Task] = {}
        self._waits: Mapping[str, Wait] = {}
        self._question = ""

    def showing(self) -> AbstractContextManager[object]:
        """Return the context in which the tree stands."""
        if not self._tree:
            return nullcontext()
        return Live(get_renderable=self._as_tree, console=self._console, refresh_per_second=5, transient=True)

    def say(self, text: str, style: str = "") -> None:
        """Write a line of our own."""
        self._console.print(Text(text, style=style))

    def ask(self, question: str) -> None:
        """Have a question stand until the next one, or none ("")."""
        if question and not self._tree:
            self.say(question)
        self._question = question

    def lines(self, task: str, lines: list[str]) -> None:
        """Write lines of a task's log."""
        name = Text(f"{task:<{self._width}} ", style=self._colour(task)).append("| ", style="dim")
        if not self._console.is_terminal:  # styles cost more than the step that wrote the lines
            self._console.out("\n".join(f"{name.plain}{line}" for line in lines), highlight=False)
            return
        for line in lines:
            self._console.print(name + Text.from_ansi(line) if self._tree else Text.assemble(name, line))

    def update(self, graph: Graph, tasks: Mapping[str, Task], waits: Mapping[str, Wait], *, over: bool) -> None:
        """Take what the tasks are now; what has changed is written. `over` is whether nothing changes any more."""
        if self._graph is None:
            self._width = min(40, max(map(len, tasks), default=0))
        self._graph, self._tasks, self._waits = graph, tasks, waits
        for name, task in tasks.items():
            if task.finished and not task.stored and not over:
                continue  # its end is said after its last line
            before = self._statuses.get(name, (Status.NOTSTARTED, 0))
            now = (task.status, task.attempt if task.executor is not None else before[1])
            if now != before:
                self._statuses[name] = now
                self._changed(task, begins=now[1] != before[1])

    def _changed(self, task: Task, *, begins: bool) -> None:
        if task.status is Status.RUNNING:
            if not begins:
                return
            text = "started" if task.attempt == 1 else f"started again, attempt {task.attempt}"
        elif task.finished:
            why = ": ".join(filter(None, (task.reason.value if task.reason else "", task.message)))
            took = f" after {_seconds(task.ended - task.started)}" if task.started and task.ended else ""
            took = f", kept from run {task.executed_by}" if task.executed_by is not None else took
            text = f"{task.status.value}{took}{f' ({why})' if why else ''}"
        else:
            return
        mark, style = _MARKS[task.status]
        self._console.print(
            Text.assemble((f"{task.name:<{self._width}} ", self._colour(task.name)), (f"{mark} {text}", style))
        )

    def _as_tree(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        if self._graph is None:
            return table
        rows = sorted(self._tasks.values(), key=lambda task: (self._level(task.name), task.name))
        if len(rows) > MOST_TASKS:
            rows = sorted(rows, key=lambda task: task.finished)[:MOST_TASKS]
        for task in rows:
            mark, style = _MARKS[task.status]
            begun = task.started if task.status is Status.RUNNING else None
            end = task.ended if task.finished else self._now()
            took = _seconds(end - task.started) if task.started and end else ""
            wait = self._waits.get(task.name)
            said = wait.message if wait is not None and begun is None else task.status.value
            indent = "  " * self._level(task.name)
            table.add_row(
                Text(f"{indent}{mark} {task.name}", style=style), Text(took, style="dim"), Text(said, style="dim")
            )
        if len(self._tasks) > len(rows):
            table.add_row(Text(f"… and {len(self._tasks) - len(rows)} more", style="dim"))
        if self._question:
            table.add_row(Text(self._question, style="bold"))
        return table

    def _level(self, name: str) -> int:
        return self._graph.level(name) if self._graph is not None else 0

    def _colour(self, task: str) -> str:
        return _COLOURS[sum(task.encode()) % len(_COLOURS)]


def result_style(result: Result) -> str:
    """Return how a result is coloured."""
    return _RESULTS.get(result, "yellow")


def terminal() -> bool:
    """Whether output goes to a terminal that can show a tree."""
    return sys.stdout.isatty()


def _seconds(ms: int) -> str:
    seconds = max(0, ms) / 1000
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    return time.strftime("%H:%M:%S" if seconds >= 3600 else "%M:%S", time.gmtime(seconds))  # noqa: PLR2004 - an hour
