"""Placing against a naive model: every answer from every waiting task, every time, without lines, heaps or caches."""

from collections import Counter
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runabout.records import Reason, RunId
from runabout.records.json import JsonObject
from runabout.scheduling.offers import Key
from runabout.scheduling.placement import Ask, Place, Placement
from runabout.scheduling.selectors import selects

FAST: JsonObject = {"matchLabels": {"disk": "fast"}}
RUNS = {  # a run's group, namespace and limit never change
    RunId("run-1"): ("/ci/project/a/branch/x", "ci", 0),
    RunId("run-2"): ("/ci/project/a/branch/x", "ci", 2),
    RunId("run-3"): ("/ci/project/a/branch/y", "ci", 1),
    RunId("run-4"): ("/ci/project/a", "ci", 0),
    RunId("run-5"): ("/ci/project/b/branch/x", "ci", 0),
    RunId("run-6"): ("/web/project/a/branch/x", "web", 3),
    RunId("run-7"): ("/web/run/run-7", "web", 0),
}


def shares(group: str) -> tuple[str, ...]:
    """Return namespace, root group and group, so that they cannot be taken for each other."""
    parts = group.split("/")
    return ("namespace " + parts[1], "root " + "/".join(parts[:4]), "group " + group)


EXECUTORS = st.sampled_from(["x", "y", "z"])
NAMESPACES = st.sampled_from(["ci", "web"])
LABELS = st.sampled_from([{}, {"disk": "fast"}, {"disk": "slow"}])
PLACES = st.builds(
    Place,
    name=EXECUTORS,
    archs=st.sampled_from([("amd64",), ("arm64",), ("amd64", "arm64")]),
    labels=LABELS,
    max_active=st.integers(0, 3),
    ready=st.sampled_from([True, True, True, False]),
    paused=st.sampled_from([False, False, False, True]),
    allow_privileged=st.booleans(),
    namespace_selector=st.sampled_from([None, None, {}, FAST]),
)


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    run = draw(st.sampled_from(sorted(RUNS)))
    group, namespace, limit = RUNS[run]
    task = draw(st.sampled_from(["t0", "t1", "t2", "t3", "t4"]))
    return Ask(
        run=run,
        task=task,
        group=group,
        namespace=namespace,
        run_limit=limit,
        arch=draw(st.sampled_from([None, "amd64", "arm64"])),
        privileged=draw(st.sampled_from([False, False, True])),
        selector=draw(st.sampled_from([None, None, FAST])),
        priority=draw(st.sampled_from([0, 0, 0, 5])),
        order=(int(task[1]) % 2, task),
    )


class PlacementAgainstModel(RuleBasedStateMachine):
    """What the model knows: executors, labels, who is where, who waits."""

    def __init__(self) -> None:
        super().__init__()
        self.real = Placement()
        self.places: dict[str, Place] = {}
        self.labels: dict[str, dict[str, str]] = {}
        self.on: dict[Key, tuple[str, str]] = {}
        self.waiting: dict[Key, Ask] = {}
        self.turns: dict[str, int] = {}
        self.clock = 0

    # the model

    def fitting(self, ask: Ask) -> list[str]:
        return [
            name
            for name, place in self.places.items()
            if place.ready
            and not place.paused
            and (ask.arch is None or ask.arch in place.archs)
            and (place.allow_privileged or not ask.privileged)
            and selects(place.namespace_selector, self.labels.get(ask.namespace, {}))
            and selects(ask.selector, place.labels)
        ]

    def load(self) -> Counter[str]:
        return Counter(executor for executor, _ in self.on.values())

    def free(self, ask: Ask) -> list[str]:
        load = self.load()
        return [
            name
            for name in self.fitting(ask)
            if not self.places[name].max_active or load[name] < self.places[name].max_active
        ]

    def is_full(self, ask: Ask) -> bool:
        return ask.run_limit > 0 and sum(1 for run, _ in self.on if run == ask.run) >= ask.run_limit

    def could_take(self, name: str) -> int:
        """At least as many of each run as it may have more on executors."""
        fitting = Counter(ask.run for ask in self.waiting.values() if name in self.fitting(ask))
        active = Counter(run for run, _ in self.on)
        return sum(
            min(count, RUNS[run][2] - active[run]) if RUNS[run][2] else count
            for run, count in fitting.items()
            if not RUNS[run][2] or active[run] < RUNS[run][2]
        )

    def choose(self) -> tuple[Ask, str] | None:
        load = self.load()
        active = Counter(share for _, group in self.on.values() for share in shares(group))
        able = [ask for ask in self.waiting.values() if self.free(ask) and not self.is_full(ask)]
        if not able:
            return None
        ask = min(
            able,
            key=lambda ask: (
                *[active[share] for share in shares(ask.group)],
                -ask.priority,
                *[self.turns.get(share, 0) for share in shares(ask.group)],
                ask.run,
                ask.order,
            ),
        )
        return ask, min(self.free(ask), key=lambda name: (load[name], name))

    def take(self, ask: Ask, executor: str) -> None:
        if ask.key not in self.on:
            self.on[ask.key] = (executor, ask.group)
            self.clock += 1
            self.turns.update(dict.fromkeys(shares(ask.group), self.clock))

    # what happens

    @rule(place=PLACES)
    def set_place(self, place: Place) -> None:
        self.places[place.name] = place
        self.real.set_place(place)

    @rule(name=EXECUTORS)
    def remove_place(self, name: str) -> None:
        self.places.pop(name, None)
        self.real.remove_place(name)

    @rule(name=NAMESPACES, labels=LABELS | st.none())
    def set_namespace(self, name: str, labels: dict[str, str] | None) -> None:
        self.labels.pop(name, None)
        if labels is not None:
            self.labels[name] = labels
        self.real.set_namespace(name, labels)

    @rule(rows=st.lists(asks(), min_size=1, max_size=6))
    def ask(self, rows: list[Ask]) -> None:
        for row in rows:
            if row.key not in self.on:
                self.waiting[row.key] = row
        self.real.ask(rows)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), priority=st.sampled_from([0, 5]))
    def ask_with_another_priority(self, data: st.DataObject, priority: int) -> None:
        self.ask([replace(self.waiting[data.draw(st.sampled_from(sorted(self.waiting)))], priority=priority)])

    @rule(run=st.sampled_from(sorted(RUNS)), keep=st.sets(st.sampled_from(["t0", "t1", "t2"])))
    def withdraw(self, run: RunId, keep: set[str]) -> None:
        self.waiting = {key: ask for key, ask in self.waiting.items() if key[0] != run or key[1] in keep}
        self.real.withdraw(run, keep)

    @rule(ask=asks(), executor=EXECUTORS)
    def occupy(self, ask: Ask, executor: str) -> None:
        self.waiting.pop(ask.key, None)
        self.take(ask, executor)
        self.real.occupy(ask, executor)

    @precondition(lambda self: self.on)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.on)))
        del self.on[key]
        self.real.release(*key)

    @rule()
    def place(self) -> None:
        expected = []
        while (chosen := self.choose()) is not None:
            ask, executor = chosen
            expected.append(chosen)
            del self.waiting[ask.key]
            self.take(ask, executor)
        before = Counter({name: self.real.active(name) for name in "xyz"})
        found = self.real.place()
        assert list(found) == expected
        for _, executor in found:
            before[executor] += 1
            limit = self.places[executor].max_active
            assert not limit or before[executor] <= limit

    # what always holds

    @invariant()
    def every_count_is_the_model_s(self) -> None:
        load = self.load()
        assert len(self.real) == len(self.waiting)
        assert all(self.real.active(name) == load[name] for name in "xyz")
        for name in "xyz":
            fitting = [ask for ask in self.waiting.values() if name in self.fitting(ask)]
            assert self.could_take(name) <= self.real.waiting(name) <= len(fitting)

    @invariant()
    def every_reason_is_the_model_s(self) -> None:
        for ask in self.waiting.values():
            reason, message = self.real.why(ask)
            if not self.fitting(ask):
                assert reason is Reason.NO_EXECUTOR
            elif self.is_full(ask):
                assert message.startswith("the run has")
            elif self.free(ask):
                assert message.startswith("waits its turn")
            else:
                assert "no free slot" in message or "no executor has a free slot" in message


PlacementAgainstModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestPlacementAgainstModel = PlacementAgainstModel.TestCase
