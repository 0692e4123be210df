"""Images for containers of Podman: which one a name means, whether it is here, and its way to us.

What always holds: a name means what it means on a cluster, where a registry's host is docker.io if none is named, but
an image of this machine comes first; one image is pulled once at a time, however many tasks wait for it; what cannot be
had is said in a kubelet's words, so that it is judged by the same rules.
"""

import asyncio
import time
from collections.abc import Callable

from runabout.executors.podman import Podman, PodmanError

_NOT_HERE = 1
"""Exit code of `podman image exists`."""


class ImageError(Exception):
    """An image cannot be had; `reason` is a kubelet's, such as ErrImagePull."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Images:
    """Pulls what is wanted; `notice` is told a sentence when that begins and when it is done."""

    def __init__(self, podman: Podman, *, notice: Callable[[str], None]) -> None:
        self._podman = podman
        self._notice = notice
        self._locks: dict[str, asyncio.Lock] = {}

    async def have(self, image: str, policy: str | None, progress: Callable[[str], None]) -> str:
        """Return the name under which an image is here now; `progress` is told how far it has come.

        Without a `policy` an image that is here is good, whatever its tag is.

        Raises:
            ImageError: it cannot be had, now or ever.
            PodmanError: Podman cannot say whether it is here.
        """
        full = full_name(image)
        async with self._locks.setdefault(full, asyncio.Lock()):
            if policy != "Always":
                for name in dict.fromkeys((image, full)):
                    if await self._is_here(name):
                        return name
            if policy == "Never":
                raise ImageError(
                    "ErrImageNeverPull", f'Container image "{image}" is not present with pull policy of Never'
                )
            await self._pull(full, progress)
            return full

    async def _is_here(self, name: str) -> bool:
        try:
            await self._podman.run("image", "exists", name)
        except PodmanError as error:
            if error.code == _NOT_HERE:
                return False
            if "invalid reference" in str(error) or "normalizing name" in str(error):
                raise ImageError("InvalidImageName", str(error)) from error
            raise
        return True

    async def _pull(self, name: str, progress: Callable[[str], None]) -> None:
        self._notice(f"pulling image {name}")
        progress(f"pulling image {name}")
        begun = time.monotonic()
        blobs: dict[str, None] = {}

        def heard(line: str) -> None:
            if line.startswith("Copying blob "):
                blobs[" ".join(line.split()[2:3])] = None
                progress(f"pulling image {name}: {len(blobs)} {'layer' if len(blobs) == 1 else 'layers'} so far")
            elif line:
                progress(f"pulling image {name}: {line}")

        try:
            await self._podman.run("pull", name, on_line=heard, seconds=None)
        except PodmanError as error:
            raise ImageError("ErrImagePull", str(error)) from error
        self._notice(f"pulled image {name} in {time.monotonic() - begun:.1f} s")


def full_name(image: str) -> str:
    """Return an image's name with its registry, as a cluster understands it."""
    host, slash, _ = image.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"
