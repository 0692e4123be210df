"""Watching over etcd's space: room is made before etcd runs out of it, and writing stops before etcd stops it.

etcd refuses all writes once the file of a member would exceed its quota, those included that would help. So from a
share of the quota on everything sealed is removed from etcd, old changes are forgotten and the file is made smaller;
and near the quota the store takes no transactions any more, while sealing still can say in etcd what it has done. When
there is room, it takes them again. What always holds: nothing is removed that is not sealed.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, replace

from runabout.datamanager.errors import StoreError
from runabout.datamanager.head import Keys, decode_sealed
from runabout.datamanager.observing import NOBODY, Observer
from runabout.datamanager.sealer import Sealer
from runabout.etcd import (
    DEFAULT_QUOTA,
    CompactedError,
    Compare,
    Etcd,
    EtcdError,
    KeyRange,
    MemberSpace,
    PermanentEtcdError,
    Upkeep,
)
from runabout.ost import OstError

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SpacePolicy:
    """When something is done about etcd's space; times in seconds, sizes in bytes, shares of the quota."""

    interval: float = 10.0
    """Between two looks."""
    pressed_interval: float = 2.0
    """The same while there is something to do."""
    alarm: float = 0.8
    """From here on room is made."""
    read_only: float = 0.95
    """With so much in use no transaction is taken any more,"""
    writable: float = 0.9
    """until it is less than this."""
    reserve: int = 4 * MIB
    """Nor with less than this between the file and the quota: the next batch could be the one that etcd refuses."""
    quota: int = DEFAULT_QUOTA
    """What counts where the server does not say its own."""
    worth: float = 0.75
    """A file is made smaller if no more than this share of it is in use."""
    compact_interval: float = 60.0
    """Between two times that old changes are forgotten while nothing else was removed: a server may copy much then, in
    the file that is nearly full already."""
    defragment_interval: float = 300.0
    """Between two times for a member, which answers nothing meanwhile."""
    stuck_interval: float = 30.0
    """The same while no transaction is taken anyway."""
    looks: float = 0.02
    """A look is taken early when batches of this share of the quota were committed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the fullest member's space means."""

    member: MemberSpace
    quota: int | None
    pressed: bool = False
    read_only: bool = False
    words: str = ""
    """Empty while all is well."""


def judge(spaces: tuple[MemberSpace, ...], policy: SpacePolicy, *, was_read_only: bool) -> Verdict:
    """Return what the space of all members means; the fullest one counts."""
    member = max(spaces, key=lambda each: (each.full, each.size / (_quota(each, policy) or float("inf"))))
    quota = _quota(member, policy)
    if quota is None:
        return Verdict(member, None, member.full, member.full, "etcd's alarm NOSPACE is on" if member.full else "")
    most = policy.writable if was_read_only else policy.read_only
    read_only = member.full or member.in_use >= most * quota or member.size > quota - policy.reserve
    pressed = read_only or member.size >= policy.alarm * quota
    if not pressed:
        return Verdict(member, quota)
    words = (
        f"etcd at {member.member} has a database of {member.size / MIB:.0f} MiB ({member.in_use / MIB:.0f} in use) of "
        f"the {quota / MIB:.0f} MiB that its quota allows"
    )
    if member.full:
        words += ", its alarm NOSPACE is on"
    words += "; the store is read-only until there is room" if read_only else "; what is sealed is removed from it"
    if not member.full and member.in_use < policy.worth * quota:
        return Verdict(member, quota, pressed, read_only, f"{words}; it can be made smaller by etcdctl defrag")
    return Verdict(member, quota, pressed, read_only, f"{words}; if that lasts, raise --quota-backend-bytes")


def _quota(space: MemberSpace, policy: SpacePolicy) -> int | None:
    quota = space.quota or policy.quota
    return quota if quota > 0 else None


class RoomMaker:
    """Removes from etcd what is of no use there: for a writer, or for one that cannot even open the store."""

    def __init__(self, etcd: Etcd, members: Upkeep, keys: Keys, *, policy: SpacePolicy) -> None:
        self._etcd = etcd
        self._members = members
        self._keys = keys
        self._policy = policy
        self._shrunk: dict[str, float] = {}
        """When a member's file was made smaller, by the loop's clock."""
        self._gained = False
        """Whether anything was forgotten since then."""
        self._compacted = float("-inf")
        self.refused: PermanentEtcdError | None = None
        """What this user may not do that would help."""

    async def make_room(self, spaces: tuple[MemberSpace, ...], *, stuck: bool) -> None:
        """Do once all that can be done.

        Raises:
            EtcdError: not a refusal; try again later.
        """
        self.refused = None
        trimmed, revision = await trim(self._etcd, self._keys)
        now = asyncio.get_running_loop().time()
        if trimmed or stuck or now - self._compacted >= self._policy.compact_interval:
            self._compacted = now
            with suppress(CompactedError):
                self._gained |= await self._allowed(self._members.compact_now(revision))
        worth = [each.member for each in spaces if self._is_worth(each, stuck=stuck)]
        for member in worth:
            self._shrunk[member] = asyncio.get_running_loop().time()
            self._gained = False
            await self._allowed(self._members.defragment(member))
        if any(each.full for each in spaces):
            spaces = await self._members.space()
            if all(each.size + MIB // 16 < (_quota(each, self._policy) or float("inf")) for each in spaces):
                await self._allowed(self._members.disarm())

    def _is_worth(self, member: MemberSpace, *, stuck: bool) -> bool:
        quota, policy = _quota(member, self._policy), self._policy
        if quota is None or member.size < min(policy.alarm * quota, quota - policy.reserve):
            return False
        passed = asyncio.get_running_loop().time() - self._shrunk.get(member.member, float("-inf"))
        if stuck:  # while nothing is written, a server does not say anew what is in use
            return passed >= policy.stuck_interval and self._gained
        return passed >= policy.defragment_interval and member.in_use <= policy.worth * member.size

    async def _allowed(self, call: Awaitable[None]) -> bool:
        try:
            await call
        except CompactedError:
            raise
        except PermanentEtcdError as error:
            self.refused = error
            return False
        return True


async def trim(etcd: Etcd, keys: Keys) -> tuple[bool, int]:
    """Remove all sealed batches from etcd, also those that are kept for readers.

    Returns whether there were any, and a revision after that.
    """
    page = await etcd.range(keys.head, keys.sealed + b"\x00")
    raw = {item.key: item.value for item in page.items}
    value = raw.get(keys.sealed)
    if value is None:
        return False, page.revision
    end = keys.wal(decode_sealed(value, where=keys.sealed.decode()).last + 1)
    if not (await etcd.range(keys.wal(0), end, limit=1)).items:
        return False, page.revision
    # On the condition that they are still those of the segments: etcd may have been wiped or set back meanwhile.
    same = [Compare(keys.sealed, value), Compare(keys.meta, raw.get(keys.meta))]
    trimmed = (await etcd.txn(same, (), deletes=[KeyRange(keys.wal(0), end)])).succeeded
    return trimmed, (await etcd.range(keys.head, keys.head + b"\x00")).revision


class SpaceWatch:
    """Looks after the space of the etcd of one writer."""

    def __init__(
        self,
        etcd: Etcd,
        members: Upkeep,
        keys: Keys,
        *,
        sealer: Sealer | None,
        policy: SpacePolicy,
        observer: Observer = NOBODY,
    ) -> None:
        self._members = members
        self._sealer = sealer
        self._policy = policy
        self._observer = observer
        self._room = RoomMaker(etcd, members, keys, policy=policy)
        self._verdict: Verdict | None = None
        self._spaces: tuple[MemberSpace, ...] = ()
        self._added = 0
        self._before = 0
        """What was added before the last look, and after the one before it."""
        self._wake = asyncio.Event()
        self._pressed = asyncio.Event()

    @property
    def verdict(self) -> Verdict | None:
        """What the last look found, None before the first one and where etcd does not say."""
        return self._verdict

    @property
    def refusal(self) -> str:
        """Why no transaction is taken now; empty: they are."""
        verdict = self._verdict
        if verdict is None or verdict.quota is None:
            return "" if verdict is None or not verdict.read_only else verdict.words
        if not verdict.read_only and verdict.member.size + self._unseen > verdict.quota - self._policy.reserve:
            # What was committed since then may have made the file larger; the next look knows.
            self._wake.set()
            larger = replace(verdict.member, size=verdict.member.size + self._unseen)
            verdict = judge((larger,), self._policy, was_read_only=False)
        return verdict.words if verdict.read_only else ""

    @property
    def _unseen(self) -> int:
        """Bytes of batches that etcd may not have counted when it was asked last."""
        return self._added + self._before

    def added(self, size: int) -> None:
        """Take note of a new batch."""
        self._added += size
        verdict, quota = self._verdict, self._policy.quota
        room = self._policy.looks * quota
        if verdict is not None and verdict.quota is not None:
            quota = verdict.quota
            room = min(self._policy.looks * quota, (quota - self._policy.reserve - verdict.member.size) / 4)
        if self._added >= room:
            self._wake.set()

    def met_full(self) -> None:
        """Take note that etcd refused a batch for want of room."""
        self._wake.set()

    async def run(self) -> None:
        """Look, and make room if need be, for ever.

        While etcd does not answer, or does not let this user look, what was found last counts.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_looking())
            group.create_task(self._keep_room())

    async def _keep_looking(self) -> None:
        while True:
            self._wake.clear()
            with suppress(EtcdError):
                await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._policy.interval):
                    await self._wake.wait()
            await asyncio.sleep(self._policy.pressed_interval / 10)  # however much is written

    async def _keep_room(self) -> None:
        """Make room beside the looking: it takes its time, and meanwhile more is written."""
        while True:
            await self._pressed.wait()
            # What stops the writer is met, and said, by the sealer itself.
            with suppress(EtcdError, StoreError):
                await self.make_room()
                await self.look()
            await asyncio.sleep(self._policy.pressed_interval)

    async def look(self) -> Verdict:
        """Ask etcd how it is.

        Raises:
            EtcdError
        """
        self._before, self._added = self._added, 0
        self._spaces = await self._members.space()
        verdict = self._judged(self._spaces)
        if verdict.pressed:
            self._pressed.set()
        else:
            self._pressed.clear()
        return verdict

    async def make_room(self) -> None:
        """Seal, and remove what is of no use in etcd.

        Raises:
            EtcdError. What stops a writer: see `Sealer.seal`.
        """
        if self._sealer is not None:
            with suppress(OstError, EtcdError):
                await self._sealer.seal()
        if self._verdict is not None:
            await self._room.make_room(self._spaces, stuck=self._verdict.read_only)

    def _judged(self, spaces: tuple[MemberSpace, ...]) -> Verdict:
        verdict = judge(spaces, self._policy, was_read_only=bool(self.refusal))
        if verdict.words and self._room.refused is not None:
            words = f"{verdict.words} (what would make room is not allowed to this user: {self._room.refused})"
            verdict = Verdict(verdict.member, verdict.quota, verdict.pressed, verdict.read_only, words)
        self._verdict = verdict
        self._observer.space_seen(verdict.member, verdict.quota, verdict.words)
        return verdict
