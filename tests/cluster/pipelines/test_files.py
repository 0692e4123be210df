"""Files, values and repositories in Runs on a real cluster: what a task gets that was not made by itself."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from fixtures.certificates import certificates
from fixtures.gateway_process import GatewayProcess
from lab.readers import Reader, reading_account
from lab.runs import IMAGE, Json, Runs, task
from runabout.executors.names import TASK_LABEL

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


def test_of_all_that_begin_with_a_key_the_newest_is_found_whatever_their_names(runs: Runs) -> None:
    group = "/project/newest/branch/main"
    for key in ("deps-a-{{ os }}", "deps-c-{{ year }}", "deps-b-{{ arch }}"):
        save_it = {"saveCache": {"key": key, "contents": [{"paths": ["which"]}]}}
        name = runs.create(task("save", steps=[{"run": f"echo '{key[:6]}' > which"}, save_it]), group=group)
        assert runs.end(name) == SUCCESS
    find = {"restoreCache": {"keys": ["nothing-", "deps-"]}}
    name = runs.create(task("find", steps=[find, {"run": "cat which"}]), group=group)
    assert runs.end(name) == SUCCESS
    assert runs.log(name, "find", step=1) == b"deps-b\n"


def test_a_value_reaches_all_that_depend_on_its_task_and_stands_in_no_object(runs: Runs) -> None:
    name = runs.create(
        task("build", 'echo "VERSION=v$((123456789 + 864197532))" >> "$RUNABOUT_RESULTS"'),
        task("middle", after=["build"]),
        task("last", 'echo "{{ tasks.build.results.VERSION }} $RUNABOUT_RESULT_BUILD_VERSION"', after=["middle"]),
    )
    assert runs.end(name) == SUCCESS
    assert runs.log(name, "last") == b"v987654321 v987654321\n"
    kinds = "pods,configmaps,secrets,events,runs"
    everything = runs.kubectl("-n", runs.namespace, "get", kinds, "-o", "json").stdout
    assert "864197532" in everything, "what makes the value does stand there"
    assert "v987654321" not in everything


def test_more_than_a_result_may_be_fails_its_step_with_the_reason(runs: Runs) -> None:
    name = runs.create(
        task("long", 'printf "A=%04097d\\n" 0 >> "$RUNABOUT_RESULTS"'),
        task("many", 'for i in 1 2 3 4 5 6 7 8 9; do printf "K$i=%04000d\\n" 0; done >> "$RUNABOUT_RESULTS"'),
        task("reads", "echo {{ tasks.long.results.A }} {{ tasks.many.results.K1 }}", after=["long", "many"]),
    )
    assert runs.end(name) == FAILED
    assert runs.counts(name) == {"failed": 2, "skipped": 1}
    assert b"4096" in runs.log(name, "long")
    assert b"32768" in runs.log(name, "many")


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


def test_what_a_run_has_saved_and_said_serves_its_restarts_whichever_of_the_runs_is_deleted(
    runs: Runs, gateways: tuple[GatewayProcess, GatewayProcess]
) -> None:
    broken: list[Json] = [{"name": "BROKEN", "value": "yes"}]
    check = {"run": 'cat made; test -z "$BROKEN"'}
    first = runs.create(
        task("build", steps=[{"run": "echo $RUNABOUT_RUN_ID | tee made"}, save("made")]),
        task("test", steps=[RESTORE, check], after=["build"]),
        environment=broken,
    )
    assert runs.end(first) == FAILED
    made = f"{runs.status(first)['id']}\n".encode()

    def again(name: str, environment: Sequence[Json] = ()) -> str:
        return runs.create(restartFrom={"run": name, "from": "failed"}, environment=list(environment))

    def gone(name: str) -> None:
        runs.kubectl("-n", runs.namespace, "delete", "run", name)

    second = again(first, broken)
    assert runs.end(second) == FAILED
    third = again(second, broken)
    assert runs.end(third) == FAILED
    gone(first)
    gone(third)
    last = again(second)
    assert runs.end(last) == SUCCESS
    reader = Reader(gateways[0], reading_account(runs))
    for name in (second, last):
        assert reader.log(f"/v1/runs/{runs.status(name)['id']}/tasks/build/attempts/1/logs/0") == made
        assert runs.log(name, "test", step=1) == made
        assert [pod["metadata"]["labels"][TASK_LABEL] for pod in runs.pods(name)] == ["test"]  # type: ignore[index] # JSON


@pytest.fixture
def repository(runs: Runs, tmp_path: Path) -> Json:
    """A service with a repository, for whoever is anna with her password, or has her key.

    It is at https://127.0.0.1:8443/web.git and ssh://git@127.0.0.1:8022/web.git.
    """
    tls = certificates(tmp_path, name="git")
    host, anna, eve = (Ed25519PrivateKey.generate() for _ in range(3))
    known, strange = (f"[127.0.0.1]:8022 {public(key)}\n" for key in (host, eve))
    files = {"tls.crt": tls.cert, "tls.key": tls.key, "ca.crt": tls.ca}
    login = {"username": "anna", "password": "correct-horse"}
    items = [
        secret("git-ssh", "Opaque", {"host": private(host), "authorized": public(anna)}),
        secret("git-key", "kubernetes.io/ssh-auth", {"ssh-privatekey": private(anna), "known_hosts": known}),
        secret("git-eve", "kubernetes.io/ssh-auth", {"ssh-privatekey": private(eve), "known_hosts": known}),
        secret("git-strange", "kubernetes.io/ssh-auth", {"ssh-privatekey": private(anna), "known_hosts": strange}),
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
        "args": ["--name", "web.git", "--ssh-listen", ":8022"],
        "environment": environment,
        "volumeMounts": [
            {"name": "tls", "mountPath": "/tls"},
            {"name": "ssh", "mountPath": "/ssh"},
            {"name": "files", "mountPath": "/repository"},
        ],
        "readiness": {"tcpSocket": {"port": 8443}, "failureThreshold": 30},
    }


def secret(name: str, kind: str, data: dict[str, str]) -> Json:
    """Return a Secret."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "data": encoded}


def private(key: Ed25519PrivateKey) -> str:
    """Return a key as ssh-keygen writes it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def public(key: Ed25519PrivateKey) -> str:
    """Return the public part of a key as it stands in a line of ssh."""
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


HTTPS, SSH = "https://127.0.0.1:8443/web.git", "ssh://git@127.0.0.1:8022/web.git"


def cloning(name: str, credentials: str, service: Json, *more: Json, url: str = HTTPS) -> Json:
    """Return a task that clones from the service beside it, with the credentials of a Secret, and does more."""
    clone = {"url": url, "destDir": "web", "credentials": {"name": credentials}}
    trust = [{"name": "SSL_CERT_FILE", "value": "/tls/ca.crt"}]
    main = {**MAIN, "volumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": True}]}
    volumes = [
        {"name": "tls", "secret": {"secretName": "git-tls"}},
        {"name": "ssh", "secret": {"secretName": "git-ssh"}},
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


def test_a_repository_is_cloned_over_ssh_with_the_key_of_a_secret_from_a_host_that_is_known(
    runs: Runs, repository: Json
) -> None:
    head: Json = {"run": "web/greet; cat web/.git/refs/heads/main; ! grep -r PRIVATE web/.git"}
    name = runs.create(
        cloning("clone", "git-key", repository, head, url=SSH),
        cloning("commit", "git-login", repository, head),
        cloning("eve", "git-eve", repository, url=SSH),
        cloning("strange", "git-strange", repository, url=SSH),
    )
    assert runs.end(name) == FAILED
    assert runs.counts(name) == {"success": 2, "failed": 2}
    cloned = runs.log(name, "clone", step=1)
    assert cloned.startswith(b"hello from git\n")
    assert cloned == runs.log(name, "commit", step=1), "both ways lead to one commit"
    assert b"does not accept the private key" in runs.log(name, "eve", step=0)
    assert b"the host's key is not the one in knownHosts" in runs.log(name, "strange", step=0)
