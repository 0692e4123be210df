"""Services beside the steps, on a real kubelet: ready before them, ended after them, and what becomes of bad ones."""

from lab.runs import IMAGE, Json, Runs, task

SERVES = (
    "mkdir /tmp/www && echo served > /tmp/www/index.html && echo starting && sleep 2 || exit 1; "
    "trap 'echo bye; exit 0' TERM; httpd -f -p 8080 -h /tmp/www & wait"
)
DIES_AT_A_TOUCH = "nc -l -p 8081; echo out of luck >&2; exit 3"
TOUCHES = "until echo x | nc 127.0.0.1 8081; do sleep 1; done"
WAITS = "trap 'exit 0' TERM; echo waiting; sleep 600 & wait"


def beside(name: str, run: str, script: str, **more: object) -> Json:
    """Return a task whose service `db` runs a script."""
    main = {"image": IMAGE, "imagePullPolicy": "IfNotPresent"}
    service = {**main, "name": "db", "command": ["sh", "-c", script], **more}
    return task(name, run, containers=[main, service])


def told(runs: Runs, name: str) -> tuple[str, str]:
    """Return reason and message of the only task worth a look."""
    notable = runs.status(name)["notable"]
    assert isinstance(notable, list)
    [row] = notable
    return str(row["reason"]), str(row["message"])


def test_steps_begin_when_their_service_is_ready_and_its_log_is_stored_to_its_end(runs: Runs) -> None:
    readiness = {"httpGet": {"path": "/", "port": 8080}, "failureThreshold": 30}
    script = 'echo "$MARK in $RUNABOUT_TASK"; ' + SERVES
    fetch = "wget -q -O - http://127.0.0.1:8080/"
    environment = [{"name": "MARK", "value": "here"}]
    name = runs.create(beside("a", fetch, script, readiness=readiness, environment=environment))
    assert runs.end(name) == ("finished", "success")
    assert runs.log(name, "a") == b"served\n"
    assert runs.log(name, "a", step="service-db") == b"here in a\nstarting\nbye\n"


def test_a_service_that_dies_fails_its_task_with_its_last_lines_and_ends_the_steps(runs: Runs) -> None:
    name = runs.create(beside("a", f"echo begun; {TOUCHES}; sleep 600", DIES_AT_A_TOUCH))
    assert runs.end(name) == ("finished", "failed")
    reason, message = told(runs, name)
    assert reason == "ServiceFailed"
    assert "service db ended with exit code 3" in message
    assert "out of luck" in message
    assert runs.log(name, "a").startswith(b"begun\n")
    assert b"out of luck\n" in runs.log(name, "a", step="service-db")


def test_a_service_that_never_gets_ready_fails_its_task_before_any_step(runs: Runs) -> None:
    readiness = {"tcpSocket": {"port": 9}, "failureThreshold": 3}
    name = runs.create(beside("a", "echo never", WAITS, readiness=readiness))
    assert runs.end(name) == ("finished", "failed")
    reason, message = told(runs, name)
    assert reason == "ServiceNotReady"
    assert message == "service db was not ready within 3 seconds; its last lines: waiting"
    assert b"waiting\n" in runs.log(name, "a", step="service-db")


def test_a_stop_ends_a_task_that_waits_for_its_service_within_seconds(runs: Runs) -> None:
    readiness = {"tcpSocket": {"port": 9}, "failureThreshold": 600}
    name = runs.create(beside("a", "echo never", WAITS, readiness=readiness))
    assert "service db is not ready yet" in runs.waiting(name, "ServiceNotReady")
    runs.patch(name, stop=True)
    assert runs.end(name, seconds=25) == ("finished", "stopped")
    assert runs.counts(name) == {"stopped": 1}


def test_a_service_that_ignores_its_signal_does_not_hold_up_the_end(runs: Runs) -> None:
    name = runs.create(beside("a", "true", "trap '' TERM; while true; do sleep 1; done"))
    assert runs.end(name, seconds=45) == ("finished", "success")
