"""How soon another process commits after a writer was killed, or has ended in order; and that nothing is lost by it.

The writer commits without a pause. The other process stands by, as a second replica does: it has been started and is
connected. The time runs from the signal to the writer until the other one's first commit is acknowledged. In an
installation a Lease stands in between: whoever stands by waits until that of a killed writer has run out.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.places import Place, clients, new_place
from runabout.datamanager import Append, Transaction, open_store
from runabout.datamanager.head import Keys

KILLED_SECONDS, ENDED_SECONDS = 2.0, 0.5
WRITE_SECONDS = 0.5
PATIENCE_SECONDS = 60
LOOK_SECONDS = 0.002
CLOSED = b"closed\n"
KIND = "number"


async def measure(folder: Path, times: int, *, lease_seconds: float) -> list[Figure]:
    """Return the figures of so many kills and as many orderly ends; the slowest counts.

    `lease_seconds`: what an installation's Lease may add after a kill.
    """
    async with new_place(folder) as place:
        found = await asyncio.to_thread(_take_over, place, times)
    killed, ended, lost = found
    lease = f"the Lease of a killed one adds up to {lease_seconds:g} s"
    return [
        Figure("kill -9 of a writer to another one's commit", max(killed), "s", KILLED_SECONDS, beside=lease),
        Figure("orderly end of a writer to another one's commit", max(ended), "s", ENDED_SECONDS),
        Figure(f"acknowledged by {2 * times} such writers and lost", lost, "", 0.0),
    ]


def _take_over(place: Place, times: int) -> tuple[list[float], list[float], int]:
    """Return the seconds after kills, those after orderly ends, and how much that was acknowledged was lost."""
    lost, killed, ended = 0, list[float](), list[float]()
    told = place.objects.parent / "told"
    for number in (signal.SIGKILL, signal.SIGTERM) * times:
        with told.open("wb") as out, _process("write", place, stdout=out) as writer:
            _wait_for_writing(writer, told)
            with _process("stand-by", place, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
                _line(other)
                time.sleep(WRITE_SECONDS)
                begin = time.perf_counter()
                writer.send_signal(number)
                _wait_for_the_end(writer, told)
                assert other.stdin is not None  # noqa: S101 - it was asked for
                other.stdin.write(b"go\n")
                other.stdin.flush()
                seen = int(_line(other))
                (killed if number == signal.SIGKILL else ended).append(time.perf_counter() - begin)
        whole = told.read_bytes().removesuffix(CLOSED).rpartition(b"\n")[0]
        lost += max(0, int(whole.rpartition(b"\n")[2]) - seen)
    return killed, ended, lost


@contextmanager
def _process(
    what: str, place: Place, *, stdin: int = subprocess.DEVNULL, stdout: object
) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "benchmarks.takeover", what, place.endpoint, str(place.objects)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdin=stdin, stdout=stdout, env=environment) as process:  # type: ignore[call-overload]  # a file or a number
        try:
            yield process
        finally:
            process.kill()


def _wait_for_writing(writer: subprocess.Popen[bytes], told: Path) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not told.read_bytes().endswith(b"\n"):
        if writer.poll() is not None or time.monotonic() > until:
            raise RuntimeError("the writer to be ended does not write; what it says stands above")
        time.sleep(LOOK_SECONDS)


def _wait_for_the_end(writer: subprocess.Popen[bytes], told: Path) -> None:
    """Return when a writer is dead or has closed its store: then its Lease would be given back."""
    until = time.monotonic() + PATIENCE_SECONDS
    while writer.poll() is None and not told.read_bytes().endswith(CLOSED):
        if time.monotonic() > until:
            raise RuntimeError("a writer that was told to end goes on")
        time.sleep(LOOK_SECONDS)


def _line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    line = process.stdout.readline().decode()
    if not line:
        raise RuntimeError("the process that stands by has ended; what it says stands above")
    return line


# the processes


async def _write(place: Place) -> None:
    """Commit one number after the other until SIGTERM; each is printed once it is acknowledged."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    store = await open_store(place.etcd, ost=place.ost)
    while not stop.is_set():
        done = await store.commit(Transaction((Append(KIND, b"number"),)))
        sys.stdout.write(f"{done.appended[0]}\n")
        sys.stdout.flush()
    await store.close()
    sys.stdout.write(CLOSED.decode())
    sys.stdout.flush()


async def _stand_by(place: Place) -> None:
    """Wait for a line, then open the store, commit, and print the last number that was there before."""
    await place.etcd.get(Keys(0).head)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    store = await open_store(place.etcd, ost=place.ost)
    last = await store.last_key(KIND)
    await store.commit(Transaction((Append(KIND, b"number"),)))
    sys.stdout.write(f"{0 if last is None else int(last, 16)}\n")
    sys.stdout.flush()
    await store.close()


async def _main(what: str, endpoint: str, objects: str) -> None:
    async with clients(endpoint, Path(objects)) as place:
        await {"write": _write, "stand-by": _stand_by}[what](place)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
