"""What is wrong with steps that save or restore archives: names that lead out of their folder, keys that say nothing.

The toolbox would refuse the same, when the step comes; found here, it is said before anything runs.
"""

import posixpath
from collections.abc import Iterator, Mapping

from runabout.records import TaskConfig
from runabout.resources import Problem
from runabout.resources.cachekeys import key_problem
from runabout.resources.steps import Content, Step


def archive_rules(step: Step, where: str) -> Iterator[Problem]:
    """Return what is wrong with `step`, whose path is `where`, if it is one that saves or restores files."""
    if step.save_to_workspace is not None:
        yield from _contents(step.save_to_workspace.contents, f"{where}.saveToWorkspace")
    if step.save_cache is not None:
        yield from _key(step.save_cache.key, f"{where}.saveCache.key")
        yield from _contents(step.save_cache.contents, f"{where}.saveCache")
    if step.restore_cache is not None:
        for place, key in enumerate(step.restore_cache.keys):
            yield from _key(key, f"{where}.restoreCache.keys[{place}]")


def saving_steps(task: TaskConfig) -> tuple[int, ...]:
    """Return the steps of a task that leave an archive in the workspace, if they get so far."""
    steps = task.body.get("steps")
    listed = steps if isinstance(steps, list | tuple) else ()
    return tuple(
        number
        for number, step in enumerate(listed)
        if isinstance(step, Mapping) and step.get("saveToWorkspace") is not None
    )


def _key(key: str, where: str) -> Iterator[Problem]:
    problem = key_problem(key)
    if problem is not None:
        yield Problem(where, problem)


def _contents(contents: tuple[Content, ...], where: str) -> Iterator[Problem]:
    for place, content in enumerate(contents):
        at = f"{where}.contents[{place}]"
        if _leads_out(content.dest_dir):
            yield Problem(
                f"{at}.destDir", "is not below the directory it is restored to; use a relative path without .."
            )
        for number, pattern in enumerate(content.paths):
            name = pattern.removeprefix("!")
            if not name or _leads_out(name):
                yield Problem(
                    f"{at}.paths[{number}]", "is no pattern relative to sourceDir; set sourceDir to the directory"
                )


def _leads_out(path: str) -> bool:
    clean = posixpath.normpath(path)
    return clean.startswith(("/", "../", "~/")) or clean in {"..", "~"}
