"""What is written from a source that has it piece by piece: how much of it waits in memory."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

from contract.ost.proxied import behind_proxy
from fixtures.s3_server import S3Server
from runabout.ost.posix import PIECE, PosixObjectStore
from runabout.ost.s3 import PART

MIB = 1024 * 1024
SIZE = 64 * MIB


async def source(stored: Callable[[], int], waiting: list[int]) -> AsyncIterator[bytes]:
    """Yield bytes, and note before each piece how many of those before it are not stored yet."""
    piece = bytes(MIB)
    for given in range(0, SIZE, MIB):
        waiting.append(given - stored())
        yield piece


async def test_a_directory_has_what_was_given_but_for_a_few_pieces(tmp_path: Path) -> None:
    store = PosixObjectStore(tmp_path / "base", threads=2)
    await store.probe()
    waiting: list[int] = []

    def stored() -> int:
        return sum(path.stat().st_size for path in (tmp_path / "base" / "tmp").iterdir())

    await store.write("large", source(stored, waiting), persist=False)
    assert (await store.stat("large")).size == SIZE
    assert len(waiting) == SIZE // MIB
    assert max(waiting) <= 2 * PIECE
    await store.close()


async def test_a_bucket_has_what_was_given_but_for_a_part(s3: S3Server) -> None:
    async with behind_proxy(s3) as (store, between, _):
        waiting: list[int] = []

        def stored() -> int:
            return PART * sum("partNumber=" in line for line in between.seen)

        await store.write("large", source(stored, waiting))
        assert (await store.stat("large")).size == SIZE
        assert len(waiting) == SIZE // MIB
        assert max(waiting) <= PART + MIB
