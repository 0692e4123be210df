"""How far a task's log has been split: what a splitter needs to go on after a restart, and what it knows of the steps.

Pure. What always holds: what an encoded state says was given out is never given out again by a splitter made from it.
"""

from dataclasses import dataclass

import orjson

from runabout.records import Status

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class StepProgress:
    """What the log has said about one step so far. Times are milliseconds since 1970, `size` is bytes of its output.

    `size` is known when the step has ended. `given` bytes have been given out (or named as missing); `line_open` says
    that what was given out does not end with a newline.
    """

    name: str
    status: Status = Status.NOTSTARTED
    exit_code: int | None = None
    started: int | None = None
    ended: int | None = None
    size: int | None = None
    given: int = 0
    line_open: bool = False


@dataclass(frozen=True, slots=True)
class SplitState:
    """A splitter between two calls. `setup` is told like a step; `complete` says that the log has come to its end."""

    setup: StepProgress
    steps: tuple[StepProgress, ...]
    nonce: str | None = None
    complete: bool = False

    def encode(self) -> bytes:
        """Return the state as JSON, a few hundred bytes for a few steps."""
        return orjson.dumps(
            {
                "format": _FORMAT,
                "nonce": self.nonce,
                "complete": self.complete,
                "steps": [_row(progress) for progress in (self.setup, *self.steps)],
            },
        )

    @classmethod
    def decode(cls, data: bytes) -> "SplitState":
        """Return an encoded state.

        Raises:
            ValueError: `data` is no state, or one of another format.
        """
        try:
            content = orjson.loads(data)
            if content["format"] != _FORMAT:
                raise KeyError(content["format"])  # noqa: TRY301 -- one message for all that it is not
            setup, *steps = (_progress(*row) for row in content["steps"])
            return cls(setup=setup, steps=tuple(steps), nonce=content["nonce"], complete=content["complete"])
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"not the state of a log splitter of format {_FORMAT}: {error}") from error


def _row(progress: StepProgress) -> list[object]:
    return [
        progress.name,
        progress.status.value,
        progress.exit_code,
        progress.started,
        progress.ended,
        progress.size,
        progress.given,
        progress.line_open,
    ]


def _progress(
    name: str,
    status: str,
    exit_code: int | None,
    started: int | None,
    ended: int | None,
    size: int | None,
    given: int,
    line_open: bool,
) -> StepProgress:
    return StepProgress(name, Status(status), exit_code, started, ended, size, given, line_open)
