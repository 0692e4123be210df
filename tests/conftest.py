"""What holds for all tests."""

import asyncio
import os
import signal

from hypothesis import HealthCheck, settings

# The same examples every time: the tests of a change must not fail for what was there before. New ones are looked for
# with RUNABOUT_EXPLORE=1, which prints how to see a failure again. That one takes long says how busy the machine is.
BUSY = (HealthCheck.too_slow,)
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=BUSY)
settings.register_profile("explore", print_blob=True, deadline=None, suppress_health_check=BUSY)
settings.load_profile("explore" if os.environ.get("RUNABOUT_EXPLORE") else "same")


def pytest_configure() -> None:
    # Without this, Python 3.11 makes an event loop for the first plug-in that asks a synchronous test for one. Nobody
    # closes it, and the warning about it fails whichever test runs when it is collected.
    asyncio.set_event_loop(None)
    # Whoever ends a run of the tests from outside wants the servers gone that they started, too. A shell that starts
    # them in the background has SIGINT ignored, so that needs a handler as well.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
