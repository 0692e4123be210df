"""All kinds of etcd behind one face."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from runabout.etcd import Etcd, MemoryEtcd, connect
from runabout.etcd.file import open_file


class Lab(Protocol):
    """An etcd in a test; use as an async context manager."""

    @property
    def etcd(self) -> Etcd:
        """The client."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...


class MemoryLab:
    """The one in memory."""

    def __init__(self) -> None:
        self.memory = MemoryEtcd()

    @property
    def etcd(self) -> Etcd:
        return self.memory

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.memory.close()


class GrpcLab:
    """A real server, by its URL."""

    def __init__(self, endpoint: str) -> None:
        self._etcd = connect(endpoint)

    @property
    def etcd(self) -> Etcd:
        return self._etcd

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._etcd.close()


class FileLab:
    """The one in a file; made where a loop runs."""

    def __init__(self, path: Path) -> None:
        self._etcd = open_file(path)

    @property
    def etcd(self) -> Etcd:
        return self._etcd

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._etcd.close()


@dataclass(frozen=True, slots=True)
class Space:
    """A client, what else can be done to its server, and a prefix that nobody else uses."""

    lab: Lab
    prefix: bytes

    def key(self, name: bytes) -> bytes:
        return self.prefix + name

    @property
    def end(self) -> bytes:
        return self.prefix[:-1] + bytes([self.prefix[-1] + 1])
