"""All kinds of etcd behind one face."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from runabout.etcd import Etcd, MemoryEtcd, connect
from runabout.etcd.file import open_file


class Lab:
    """An etcd in a test; use as an async context manager, which closes its client."""

    def __init__(self, etcd: Etcd) -> None:
        self.etcd = etcd

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.etcd.close()


class MemoryLab(Lab):
    """The one in memory."""

    def __init__(self) -> None:
        self.memory = MemoryEtcd()
        super().__init__(self.memory)


class GrpcLab(Lab):
    """A real server, by its URL."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(connect(endpoint))


class FileLab(Lab):
    """The one in a file; made where a loop runs."""

    def __init__(self, path: Path) -> None:
        super().__init__(open_file(path))


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
