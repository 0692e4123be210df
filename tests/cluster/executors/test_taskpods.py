"""Task pods on a real cluster: what the manifest asks for works, and what goes wrong is seen with its right reason."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from lab.taskpods import STEPS_IMAGE, Lab, task
from runabout.executors.driver import Created, Done, Invalid, PodRef, Refused
from runabout.executors.manifest import MAX_ANNOTATION_PLAN
from runabout.executors.state import Ended, Limits, Machinery, Pending, PodState, Running
from runabout.kube.objects import CONFIG_MAPS, PODS, Resource
from runabout.records import Reason, Status

SECRETS = Resource("", "v1", "secrets", "Secret")
QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")
NEXT_LETTERS = "tr a-z b-za"
"""Shows a Secret's value in a way that is not masked: hidden as ijeefo."""


def over(state: PodState) -> bool:
    return isinstance(state, Ended | Machinery)


def waits_for(reason: Reason) -> Callable[[PodState], bool]:
    return lambda state: isinstance(state, Pending) and state.reason is reason


async def test_a_task_runs_its_steps_and_says_how_each_ended(lab: Lab) -> None:
    attempt = await lab.start(task("echo one; pwd", {"name": "second", "run": "printf two; exit 3"}, "echo never"))

    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    assert (state.outcome, state.reason, state.exit_code) == ("failed", Reason.EXIT_CODE, 3)
    assert [(step.name, step.status) for step in state.steps] == [
        ("run-1", Status.SUCCESS),
        ("second", Status.FAILED),
        ("run-3", Status.NOTSTARTED),
    ]
    log = await attempt.log()
    assert log[0] == b"one\n/tmp/project\n"
    assert log[1] == b"two"
    assert [step.log_size for step in state.steps] == [len(log[0]), len(log[1]), 0]


async def test_a_step_that_writes_the_pods_last_words_itself_changes_nothing(lab: Lab) -> None:
    forged = '{"steps": [{"status": "success", "exitCode": 0}], "exitCode": 0}'
    attempt = await lab.start(task(f"echo '{forged}' > /dev/termination-log; exit 3", "echo never"))

    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    assert (state.outcome, state.reason, state.exit_code) == ("failed", Reason.EXIT_CODE, 3)
    assert [step.status for step in state.steps] == [Status.FAILED, Status.NOTSTARTED]


@pytest.mark.parametrize("lab", ["restricted"], indirect=True)
async def test_a_namespace_that_enforces_restricted_takes_the_pod(lab: Lab) -> None:
    attempt = await lab.start(task("id -u", user="1000"))

    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    assert state.outcome == "success", state
    assert (await attempt.log())[0] == b"1000\n"


@pytest.mark.parametrize("lab", ["restricted"], indirect=True)
async def test_a_pod_with_everything_set_passes_where_restricted_is_enforced(lab: Lab) -> None:
    for resource, field in ((SECRETS, "stringData"), (CONFIG_MAPS, "data")):
        await lab.session.create(
            resource,
            {"apiVersion": "v1", "kind": resource.kind, "metadata": {"name": "s"}, field: {"k": f"{resource.kind}\n"}},
            namespace=lab.namespace,
        )
    small = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}
    mounts = [{"name": name, "mountPath": f"/v/{name}", "readOnly": name != "shared"} for name in ("s", "c", "shared")]
    both = {"image": STEPS_IMAGE, "imagePullPolicy": "Never", "user": "1000:1000", "resources": small}
    service = {
        **both,
        "name": "db",
        "command": ["sh", "-c", "echo up > /v/shared/up; trap 'exit 0' TERM; sleep 600 & wait"],
        "readiness": {"exec": {"command": ["test", "-e", "/v/shared/up"]}},
        "volumeMounts": mounts,
    }
    settings = {
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "none", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "serviceAccountName": "default",
        "automountServiceAccountToken": True,
        "imagePullSecrets": [{"name": "none"}],
        "securityContext": {"fsGroup": 1000},
        "volumes": [
            {"name": "s", "secret": {"secretName": "s"}},
            {"name": "c", "configMap": {"name": "s"}},
            {"name": "shared", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
        ],
        "labels": {"team": "web"},
        "annotations": {"example.org/cost": "ci"},
    }
    token = "test -s /var/run/secrets/kubernetes.io/serviceaccount/token"
    of = task(
        f"{token}; cat /v/shared/up /v/s/k /v/c/k; id -u",
        containers=[{**both, "volumeMounts": mounts}, service],
        pod=settings,
    )
    attempt = await lab.start(of)

    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    assert state.outcome == "success", (state, await attempt.log())
    assert (await attempt.log())[0] == b"up\nSecret\nConfigMap\n1000\n"


async def test_a_pod_has_no_token_that_it_was_not_to_have(lab: Lab) -> None:
    attempt = await lab.start(task("test ! -e /var/run/secrets/kubernetes.io"))

    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    assert state.outcome == "success", state


async def test_a_step_can_run_as_another_user(lab: Lab) -> None:
    attempt = await lab.start(task("id -u", {"run": "id -un; touch mine", "user": "user", "workingDir": "/tmp/theirs"}))

    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    assert state.outcome == "success", (state, await attempt.log())
    log = await attempt.log()
    assert (log[0], log[1]) == (b"0\n", b"user\n")


async def test_variables_arrive_byte_for_byte_and_secrets_come_from_kubernetes(lab: Lab) -> None:
    await lab.session.create(
        SECRETS,
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "hidden"}},
        namespace=lab.namespace,
    )
    reference = {"secretKeyRef": {"name": "s", "key": "k"}}
    attempt = await lab.start(
        task(
            {
                "run": f'echo "$PLAIN|$TOKEN|$(echo "$TOKEN" | {NEXT_LETTERS})|$HERE|$RUNABOUT_TASK|$RUNABOUT_ATTEMPT|'
                '${RUNABOUT_ENV_0-unset}"',
                "environment": [{"name": "TOKEN", "valueFrom": reference}, {"name": "HERE", "value": "$(PLAIN)"}],
            },
            environment=[{"name": "PLAIN", "value": "$(RUNABOUT_TASK) $$ é"}],
        )
    )

    await attempt.until(over)

    assert (await attempt.log())[0].decode() == "$(RUNABOUT_TASK) $$ é|***|ijeefo|$(PLAIN)|try|1|unset\n"


async def test_a_plan_in_a_config_map_is_run_too(lab: Lab) -> None:
    filler = "# " + "x" * MAX_ANNOTATION_PLAN + "\n"
    attempt = await lab.start(task(filler + "echo large"))
    assert attempt.manifest.config_map is not None

    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    assert state.outcome == "success"
    assert (await attempt.log())[0] == b"large\n"


async def test_an_image_that_is_not_there_is_the_users(lab: Lab) -> None:
    attempt = await lab.start(task("true", container={"image": "runabout/absent:dev"}))

    state = await attempt.until(waits_for(Reason.IMAGE_PULL))
    given_up = await attempt.until(over, limits=Limits(image_pull_seconds=2))

    assert isinstance(state, Pending)
    assert "runabout/absent:dev" in state.message
    assert isinstance(given_up, Ended)
    assert (given_up.outcome, given_up.reason, given_up.cleanup) == ("failed", Reason.IMAGE_PULL, "delete")


async def test_an_image_name_that_cannot_be_is_given_up_at_once(lab: Lab) -> None:
    attempt = await lab.start(task("true", container={"image": "NOT/A/Name:"}))

    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    assert state.reason is Reason.IMAGE_PULL


async def test_a_registry_that_does_not_answer_is_the_machinerys(lab: Lab) -> None:
    image = {"image": "127.0.0.1:1/none:1", "imagePullPolicy": "Always"}
    attempt = await lab.start(task("true", container=image))

    state = await attempt.until(waits_for(Reason.REGISTRY_ERROR))
    given_up = await attempt.until(over, limits=Limits(image_pull_seconds=2))

    assert isinstance(state, Pending)
    assert "connection refused" in state.message
    assert isinstance(given_up, Machinery)
    assert given_up.reason is Reason.REGISTRY_ERROR


async def test_a_missing_secret_is_waited_for(lab: Lab) -> None:
    reference = {"secretKeyRef": {"name": "late", "key": "k"}}
    attempt = await lab.start(
        task(f"echo $TOKEN | {NEXT_LETTERS}", environment=[{"name": "TOKEN", "valueFrom": reference}])
    )

    state = await attempt.until(waits_for(Reason.CONFIG_ERROR))
    await lab.session.create(
        SECRETS,
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}, "stringData": {"k": "here"}},
        namespace=lab.namespace,
    )
    ended = await attempt.until(over)

    assert isinstance(state, Pending)
    assert '"late" not found' in state.message
    assert isinstance(ended, Ended), ended
    assert (await attempt.log())[0] == b"ifsf\n"


async def test_a_task_that_takes_too_much_memory_is_out_of_memory(lab: Lab) -> None:
    attempt = await lab.start(
        task("exec tail /dev/zero", container={"resources": {"limits": {"memory": "64Mi"}}}),
    )

    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    assert (state.outcome, state.reason, state.exit_code) == ("failed", Reason.OOM_KILLED, 137)


async def test_an_architecture_without_nodes_is_unschedulable(lab: Lab) -> None:
    attempt = await lab.start(task("true", arch="s390x"))

    state = await attempt.until(waits_for(Reason.UNSCHEDULABLE))
    given_up = await attempt.until(over, limits=Limits(pending_seconds=2))

    assert isinstance(state, Pending)
    assert "nodes are available" in state.message
    assert isinstance(given_up, Ended)
    assert (given_up.reason, given_up.cleanup) == (Reason.UNSCHEDULABLE, "delete")


async def test_a_task_over_its_ephemeral_storage_is_evicted(lab: Lab) -> None:
    attempt = await lab.start(
        task(
            "dd if=/dev/zero of=/tmp/much bs=1M count=96; sleep 600",
            container={"resources": {"limits": {"ephemeral-storage": "48Mi"}}},
        )
    )

    state = await attempt.until(over)

    assert isinstance(state, Machinery), state
    assert state.reason is Reason.EVICTED
    assert "ephemeral" in state.message


async def test_a_pod_that_somebody_deletes_is_the_machinerys(lab: Lab) -> None:
    attempt = await lab.start(task("sleep 600"))
    await attempt.until(lambda state: isinstance(state, Running))

    await lab.session.delete(PODS, attempt.ref.name, namespace=lab.namespace)
    leaving = await attempt.until(lambda state: over(state) or (isinstance(state, Running) and bool(state.reason)))
    state = await attempt.until(over)

    assert leaving.reason is Reason.POD_DELETED  # type: ignore[union-attr] # neither absent nor without a reason
    assert isinstance(state, Machinery), state
    assert state.reason is Reason.POD_DELETED


async def test_orphans_are_reaped_and_what_is_left_is_killed_with_its_step(lab: Lab) -> None:
    """The toolbox is process 1 here, which the tests beside its sources cannot be."""
    attempt = await lab.start(
        task(
            "for i in 1 2 3 4 5; do sh -c 'true & true &'; done; sleep 600 & setsid sleep 601 & echo begun",
            "sleep 1; for s in /proc/[0-9]*/stat; do cut -d' ' -f2,3 $s; done | grep -v -e cut -e '(sh)'",
        )
    )

    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    assert state.outcome == "success", (state, await attempt.log())
    left = (await attempt.log())[1].decode().splitlines()
    assert not [process for process in left if process.endswith(" Z")]
    assert [process.split()[0] for process in left].count("(sleep)") == 1


async def test_a_home_is_that_of_the_user_in_the_image(lab: Lab) -> None:
    attempt = await lab.start(task("pwd", {"run": "pwd", "user": "user"}, workingDir="~/src"))

    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    homes = [(await attempt.log())[step].decode().removesuffix("/src\n") for step in (0, 1)]
    assert homes[0] != homes[1], homes


async def test_a_stopped_task_gets_its_signal_and_keeps_its_log(lab: Lab) -> None:
    attempt = await lab.start(task("trap 'echo bye; exit 0' TERM; echo ready; sleep 600 & wait", "echo never"))
    await attempt.until(lambda state: isinstance(state, Running))
    while b"ready" not in (await attempt.log()).get(0, b""):
        await attempt.until(lambda state: isinstance(state, Running))

    await attempt.stop(started=True)
    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    assert (state.outcome, state.reason) == ("stopped", Reason.STOPPED)
    assert [step.status for step in state.steps] == [Status.STOPPED, Status.NOTSTARTED]
    assert state.ended is not None
    assert attempt.stopped_at is not None
    assert state.ended - attempt.stopped_at < 20_000
    assert (await attempt.log())[0].startswith(b"ready\nbye\n")
    assert await lab.driver.exists(attempt.ref)


async def test_a_task_that_ignores_its_signal_is_killed_after_the_grace_period(lab: Lab) -> None:
    attempt = await lab.start(task("trap '' TERM; while true; do sleep 1; done"))
    await attempt.until(lambda state: isinstance(state, Running))

    await attempt.stop(started=True)
    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    assert state.outcome == "stopped"
    assert [step.exit_code for step in state.steps] == [137]


async def test_a_task_that_never_started_is_stopped_by_its_deletion(lab: Lab) -> None:
    attempt = await lab.start(task("true", arch="s390x"))
    await attempt.until(lambda state: isinstance(state, Pending))

    await attempt.stop(started=False)
    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    assert state.outcome == "stopped"
    assert not await lab.driver.exists(attempt.ref)


@pytest.mark.parametrize(("of_step", "of_task"), [(1, 0), (0, 1)], ids=["step", "task"])
async def test_what_takes_too_long_is_ended_by_the_toolbox(lab: Lab, of_step: int, of_task: int) -> None:
    slow = replace(task({"run": "sleep 600", "timeoutSeconds": of_step}), timeout_seconds=of_task)
    attempt = await lab.start(slow)

    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    assert (state.outcome, state.reason, state.exit_code) == ("failed", Reason.TIMEOUT, 124)
    assert [step.status for step in state.steps] == [Status.FAILED]


async def test_a_pod_whose_phase_lags_behind_its_container_is_left_to_end_by_itself(lab: Lab) -> None:
    attempt = await lab.start(task("true"))

    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    assert state.started is not None
    assert state.ended is not None
    assert state.started <= state.ended
    assert state.cleanup == "none"


async def test_a_shell_that_the_image_lacks_is_the_users(lab: Lab) -> None:
    attempt = await lab.start(task({"run": "true", "shell": "/bin/zsh"}))

    state = await attempt.until(over)

    assert isinstance(state, Ended), state
    assert state.reason is Reason.STEP_ERROR
    assert "/bin/zsh" in state.message


async def test_a_pod_is_created_once_however_often_it_is_asked_for(lab: Lab) -> None:
    manifest = lab.manifest(task("true", arch="s390x"))

    first = await lab.driver.create(manifest)
    second = await lab.driver.create(manifest)

    assert isinstance(first, Created)
    assert isinstance(second, Created)
    assert second.uid == first.uid


async def test_a_foreign_pod_of_the_same_name_is_not_taken_for_ours(lab: Lab) -> None:
    manifest = lab.manifest(task("true", arch="s390x"))
    foreign = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": manifest.name},
        "spec": {"nodeSelector": {"no": "where"}, "containers": [{"name": "a", "image": "none"}]},
    }
    await lab.session.create(PODS, foreign, namespace=lab.namespace)

    answer = await lab.driver.create(manifest)

    assert isinstance(answer, Refused)
    assert "does not belong to this run" in answer.message


async def test_a_quota_is_a_wait_in_the_servers_words(lab: Lab) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    await lab.session.create(QUOTAS, quota, namespace=lab.namespace)

    answer = await lab.driver.create(lab.manifest(task("true")))

    assert isinstance(answer, Refused)
    assert "quota" in answer.message


@pytest.mark.parametrize("lab", ["restricted"], indirect=True)
async def test_a_pod_that_a_restricted_namespace_refuses_is_a_wait(lab: Lab) -> None:
    unconfined = task("true", pod={"securityContext": {"seccompProfile": {"type": "Unconfined"}}})

    answer = await lab.driver.create(lab.manifest(unconfined))

    assert isinstance(answer, Refused)
    assert 'violates PodSecurity "restricted' in answer.message


async def test_a_pod_that_can_never_be_is_invalid(lab: Lab) -> None:
    answer = await lab.driver.create(
        lab.manifest(task("true", container={"volumeMounts": [{"name": "no", "mountPath": "/x"}]}))
    )

    assert isinstance(answer, Invalid)
    assert "volumeMounts" in answer.message


async def test_a_pod_of_another_uid_is_left_alone(lab: Lab) -> None:
    attempt = await lab.start(task("true", arch="s390x"))
    other = PodRef(lab.namespace, attempt.ref.name, "00000000-0000-0000-0000-000000000000")

    assert await lab.driver.remove(other) == Done(gone=True)
    assert await lab.driver.stop(other, started=True, grace_seconds=1) == Done(gone=True)
    assert await lab.driver.exists(attempt.ref)
    assert not await lab.driver.exists(other)

    assert await lab.driver.remove(attempt.ref, force=True) == Done()
    assert await lab.driver.remove(attempt.ref) == Done(gone=True)
