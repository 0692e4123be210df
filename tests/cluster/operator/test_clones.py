"""Steps that clone, in an image without git, and what becomes of Secrets in logs."""

import base64
import subprocess
from pathlib import Path

from lab.runs import IMAGE, Json, Runs, task

SCRIPT = """#!/bin/sh
case "$PATH_INFO" in
/info/refs) type=advertisement file=refs ;;
*) cat > /dev/null; type=result file=answer ;;
esac
printf 'Content-Type: application/x-git-upload-pack-%s\\r\\n\\r\\n' "$type"
cat "/tmp/www/$file"
"""
"""A git server for one clone of one commit, which is all the same bytes each time."""


def packet(text: bytes) -> bytes:
    """Return a packet line of git's protocol."""
    return f"{len(text) + 4:04x}".encode() + text


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Run git in a folder; return its output."""
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    return subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], input=stdin, stdout=subprocess.PIPE, check=True
    ).stdout


def server(folder: Path) -> tuple[str, Json]:
    """Return a commit, and a service that serves its repository at http://127.0.0.1:8080/cgi-bin/web.git."""
    git(folder, "init", "-q", "-b", "main")
    (folder / "greeting").write_text("hello from git\n")
    git(folder, "add", "greeting")
    git(folder, "commit", "-qm", "Greet")
    commit = git(folder, "rev-parse", "HEAD").decode().strip()
    head = f"{commit} HEAD\0symref=HEAD:refs/heads/main agent=git/test\n".encode()
    branch = f"{commit} refs/heads/main\n".encode()
    refs = packet(b"# service=git-upload-pack\n") + b"0000" + packet(head) + packet(branch) + b"0000"
    pack = git(folder, "pack-objects", "--stdout", "--revs", "-q", stdin=f"{commit}\n".encode())
    files = {"refs": refs, "answer": packet(b"NAK\n") + pack, "cgi-bin/web.git": SCRIPT.encode()}
    write = "".join(
        f"echo {base64.b64encode(data).decode()} | base64 -d > /tmp/www/{name}; " for name, data in files.items()
    )
    start = f"mkdir -p /tmp/www/cgi-bin; {write}chmod 755 /tmp/www/cgi-bin/web.git; exec httpd -f -p 8080 -h /tmp/www"
    return commit, {
        "name": "git",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", start],
        "readiness": {"tcpSocket": {"port": 8080}, "failureThreshold": 30},
    }


def test_a_repository_is_cloned_in_an_image_without_git_by_any_user(runs: Runs, tmp_path: Path) -> None:
    commit, service = server(tmp_path)
    main = {"image": IMAGE, "imagePullPolicy": "IfNotPresent"}
    clone = {"url": "http://127.0.0.1:8080/cgi-bin/web.git", "destDir": "web"}
    steps = [{"clone": clone}, {"run": "cat web/greeting; id -u; stat -c %u web/greeting; cat web/.git/HEAD"}]
    name = runs.create(
        task("a", containers=[main, service], steps=steps, user="1000:1000", workingDir="/tmp/project"),
    )
    assert runs.end(name) == ("finished", "success")
    assert f"HEAD is {commit} (branch main) Greet\n" in runs.log(name, "a", step=0).decode()
    assert runs.log(name, "a", step=1) == b"hello from git\n1000\n1000\nref: refs/heads/main\n"


def test_a_clone_whose_secret_is_missing_fails_at_once_and_names_it(runs: Runs) -> None:
    clone = {"url": "git@127.0.0.1:web.git", "credentials": {"name": "nowhere"}}
    name = runs.create(task("a", steps=[{"clone": clone}]))
    assert runs.end(name) == ("finished", "failed")
    assert b"the Secret nowhere is not there" in runs.log(name, "a", step=0)


def test_what_a_step_prints_of_a_secret_is_stars_in_its_log(runs: Runs) -> None:
    runs.kubectl("-n", runs.namespace, "create", "secret", "generic", "login", "--from-literal=token=correct-horse")
    reference = {"secretKeyRef": {"name": "login", "key": "token"}}
    variables = [{"name": "TOKEN", "valueFrom": reference}]
    script = "printf 'a %s b correct-' \"$TOKEN\"; echo horse; echo user:$TOKEN | base64"
    step = {"run": script, "environment": variables}
    name = runs.create(task("a", script, environment=variables), task("b", steps=[step]))
    assert runs.end(name) == ("finished", "success")
    for stored in (runs.log(name, "a"), runs.log(name, "b")):
        assert stored.startswith(b"a *** b ***\n")
        assert base64.b64encode(b"user:correct-horse\n")[8:20] not in stored
