"""What holds for all tests."""

import asyncio


def pytest_configure() -> None:
    # Without this, Python 3.11 makes an event loop for the first plug-in that asks a synchronous test for one. Nobody
    # closes it, and the warning about it fails whichever test runs when it is collected.
    asyncio.set_event_loop(None)
