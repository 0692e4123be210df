"""Files, values and repositories in Runs on a real cluster: what a task gets that was not made by itself."""

import base64
import json
from pathlib import Path

import pytest

from fixtures.certificates import certificates
from lab.runs import IMAGE, Json, Runs, task

SUCCESS, FAILED = ("finished", "success"), ("finished", "failed")
MAIN: Json = {"image": IMAGE, "imagePullPolicy": "IfNotPresent"}
RESTORE: Json = {"restoreWorkspace": {}}


def save(*paths: str) -> Json:
    """Return a step that saves these to the workspace."""
    return {"saveToWorkspace": {"contents": [{"paths": list(paths)}]}}


def saver(name: str, *after: str) -> Json:
    """Return a task that saves a file with a name of its own, and one that others save, too."""
    return task(name, steps=[{"run": f"echo {name} | tee {name} > who"}, save(name, "who")], after=after)


def test_a_grandchild_finds_the_files_of_all_ancestors_the_later_ones_over_the_earlier_ones(runs: Runs) -> None:
    look = {"run": "cat early b-late a-late who; stat -c '%a %U' early; test ! -e stranger"}
    name = runs.create(
        # By level, then by name: b-late is the last one, though it stands before a-late, and early is below both.
        saver("b-late", "early"),
        saver("a-late", "early"),
        saver("early"),
        saver("stranger"),
        task("middle", after=["b-late", "a-late"]),
        task("last", steps=[RESTORE, look], user="1000:1000", workingDir="/tmp/project", after=["middle"]),
    )
    assert runs.end(name) == SUCCESS
    assert runs.log(name, "last", step=1) == b"early\nb-late\na-late\nb-late\n644 user\n"
    said = runs.log(name, "last", step=0).decode()
    order = [said.index(f"restored what task {saved} saved") for saved in ("early", "a-late", "b-late")]
    assert order == sorted(order)


KEY = 'pkg-{{ arch }}-{{ checksum "lock" }}'


def cached() -> Json:
    """Return a task that looks for something in the cache, makes it where it is not there, and saves it."""
    steps: list[Json] = [
        {"run": "echo locked > lock"},
        {"restoreCache": {"keys": [KEY]}},
        {"run": "test -e pkg/module || { mkdir pkg; echo $RUNABOUT_RUN_ID > pkg/module; }; cat pkg/module"},
        {"saveCache": {"key": KEY, "contents": [{"paths": ["pkg"]}]}},
    ]
    return task("build", steps=steps)


def test_a_run_finds_in_the_cache_what_an_earlier_one_of_its_project_has_put_there_and_no_other_does(
    runs: Runs,
) -> None:
    first = runs.create(cached(), group="/project/cached/branch/main")
    assert runs.end(first) == SUCCESS
    assert b"the cache has nothing that begins with pkg-" in runs.log(first, "build", step=1)
    assert b"saved to the cache: pkg-" in runs.log(first, "build", step=3)
    second = runs.create(cached(), group="/project/cached/branch/topic")
    other = runs.create(cached(), group="/project/cached2/branch/main")
    assert [runs.end(name) for name in (second, other)] == [SUCCESS, SUCCESS]
    assert b"restored from the cache: pkg-" in runs.log(second, "build", step=1)
    assert b"left as it is" in runs.log(second, "build", step=3)
    made = {name: runs.log(name, "build", step=2).decode().strip() for name in (first, second, other)}
    assert made[second] == made[first] == runs.status(first)["id"]
    assert made[other] == runs.status(other)["id"]


def test_a_result_that_was_never_handed_on_fails_the_task_that_asks_for_it_before_its_first_step(runs: Runs) -> None:
    name = runs.create(
        task("build", 'echo VERSION=1.2 >> "$RUNABOUT_RESULTS"'),
        task("release", 'echo "releasing {{ tasks.build.results.VERSION }}"', after=["build"]),
        task("announce", 'echo "{{ tasks.build.results.URL }}"', after=["build"]),
    )
    assert runs.end(name) == FAILED
    assert runs.log(name, "release") == b"releasing 1.2\n"
    notable = runs.status(name)["notable"]
    assert isinstance(notable, list)
    [row] = notable
    assert (row["task"], row["reason"]) == ("announce", "MissingResult")
    assert "build" in row["message"]
    assert "URL" in row["message"]


@pytest.fixture
def repository(runs: Runs, tmp_path: Path) -> Json:
    """A service with a repository at https://127.0.0.1:8443/web.git, for whoever is anna with her password."""
    tls = certificates(tmp_path, name="git")
    files = {"tls.crt": tls.cert, "tls.key": tls.key, "ca.crt": tls.ca}
    login = {"username": "anna", "password": "correct-horse"}
    items = [
        secret("git-tls", "Opaque", {name: path.read_text() for name, path in files.items()}),
        secret("git-login", "kubernetes.io/basic-auth", login),
        secret("git-wrong", "kubernetes.io/basic-auth", {**login, "password": "wrong-horse"}),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "git-files"},
            "data": {"greet": "#!/bin/sh\necho hello from git\n", "README": "text\n"},
        },
    ]
    runs.kubectl(
        *("-n", runs.namespace, "apply", "-f", "-"),
        stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}),
    )
    environment = [
        {"name": f"GIT_{key.upper()}", "valueFrom": {"secretKeyRef": {"name": "git-login", "key": key}}}
        for key in login
    ]
    return {
        "name": "git",
        "image": "runabout/git:dev",
        "imagePullPolicy": "IfNotPresent",
        "args": ["--name", "web.git"],
        "environment": environment,
        "volumeMounts": [{"name": "tls", "mountPath": "/tls"}, {"name": "files", "mountPath": "/repository"}],
        "readiness": {"tcpSocket": {"port": 8443}, "failureThreshold": 30},
    }


def secret(name: str, kind: str, data: dict[str, str]) -> Json:
    """Return a Secret."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "data": encoded}


def cloning(name: str, credentials: str, service: Json, *more: Json) -> Json:
    """Return a task that clones from the service beside it, with the credentials of a Secret, and does more."""
    clone = {"url": "https://127.0.0.1:8443/web.git", "destDir": "web", "credentials": {"name": credentials}}
    trust = [{"name": "SSL_CERT_FILE", "value": "/tls/ca.crt"}]
    main = {**MAIN, "volumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": True}]}
    volumes = [
        {"name": "tls", "secret": {"secretName": "git-tls"}},
        {"name": "files", "configMap": {"name": "git-files"}},
    ]
    steps = [{"clone": clone, "environment": trust}, *more]
    return task(name, containers=[main, service], pod={"volumes": volumes}, steps=steps)


def test_a_repository_that_asks_for_a_password_is_cloned_with_that_of_a_secret_and_kept_for_others(
    runs: Runs, repository: Json
) -> None:
    forbidden = "! grep -r correct-horse web/.git"
    name = runs.create(
        cloning("clone", "git-login", repository, {"run": forbidden}, save("web")),
        cloning("wrong", "git-wrong", repository),
        task("build", steps=[RESTORE, {"run": "web/greet"}], after=["clone"]),
    )
    assert runs.end(name) == FAILED
    assert runs.counts(name) == {"success": 2, "failed": 1}
    assert runs.log(name, "build", step=1) == b"hello from git\n"
    refused = runs.log(name, "wrong", step=0)
    assert b"authentication failed" in refused
    assert b"wrong-horse" not in refused
