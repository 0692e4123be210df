"""Sealed objects that are damaged, missing or another installation's: each is named, and the store is not opened."""

import pytest

from contract.datamanager.conftest import Sealing
from lab.sealing import seal, write
from lab.stores import Stores
from runabout.datamanager import BrokenLog

NEVER = 3600.0


async def _sealed_twice(sealing: Sealing) -> Stores:
    stores = sealing(interval=NEVER, keep=0)
    store = await stores.open()
    for part in range(2):
        await write(store, 3, prefix=f"{part} ")
        await seal(store)
    await store.close()
    return stores


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("first missing", r"wal/0000000000000002 is missing: the next one is .*wal/0000000000000005"),
        ("last missing", r"wal/0000000000000005 is missing: .* up to sequence 7, .* ends with 4"),
        ("all missing", r"wal/0000000000000005 is missing"),
        ("flipped", r"wal/0000000000000002 is damaged"),
        ("cut", r"wal/0000000000000002 is damaged"),
        ("empty", r"wal/0000000000000002 has 0 bytes"),
        ("swapped", r"wal/0000000000000002 holds the segment that begins with 5"),
        ("identity missing", r"does not know this store .* up to sequence 7 is there: it is another one, or it was"),
        ("identity damaged", r"identity says .*: damaged"),
        ("identity of another", r"one of them belongs to another installation"),
    ],
)
async def test_objects_that_are_damaged_or_missing_are_named_and_the_store_is_not_opened(
    sealing: Sealing, damage: str, message: str
) -> None:
    stores = await _sealed_twice(sealing)
    ost, keys = stores.ost, stores.keys
    assert ost is not None
    one, two = await ost.read(keys.segment(2)), await ost.read(keys.segment(5))
    identity = await ost.read(keys.identity)
    changes: dict[str, dict[str, bytes | None]] = {
        "first missing": {keys.segment(2): None},
        "last missing": {keys.segment(5): None},
        "all missing": {keys.segment(2): None, keys.segment(5): None},
        "flipped": {keys.segment(2): one[:100] + bytes([one[100] ^ 4]) + one[101:]},
        "cut": {keys.segment(2): one[:-1]},
        "empty": {keys.segment(2): b""},
        "swapped": {keys.segment(2): two},
        "identity missing": {keys.identity: None},
        "identity damaged": {keys.identity: identity[:-1]},
        "identity of another": {keys.identity: identity[:-16] + b"x" * 16},
    }
    for key, value in changes[damage].items():
        await (ost.delete(key) if value is None else ost.write(key, value))
    before = await stores.snapshot()
    with pytest.raises(BrokenLog, match=message):
        await stores.open()
    if damage.startswith("identity"):
        assert await stores.snapshot() == before, "nothing is changed before both places are known to belong together"


async def test_another_installations_object_storage_is_refused_and_nothing_is_changed(sealing: Sealing) -> None:
    stores = await _sealed_twice(sealing)
    other = sealing(other=True, number=stores.keys.store, interval=NEVER)
    before = await stores.snapshot()
    with pytest.raises(BrokenLog, match="does not know this store"):
        await other.open()
    assert other.ost is not None
    assert await other.ost.list() == []
    assert await stores.snapshot() == before


async def test_bytes_that_were_damaged_on_the_way_are_read_once_more(sealing: Sealing) -> None:
    stores = await _sealed_twice(sealing)
    assert stores.faulty_ost is not None
    read, left = stores.faulty_ost.read, [1]

    async def flip(key: str, *args: object) -> bytes:
        data = await read(key, *args)  # type: ignore[arg-type]  # passed on as they came
        if key == stores.keys.segment(2) and left:
            left.pop()
            return data[:90] + b"?" + data[91:]
        return data

    stores.faulty_ost.read = flip  # type: ignore[method-assign,assignment]  # as damage on the way would
    assert (await stores.open()).sequence == 8
