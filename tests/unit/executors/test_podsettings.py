"""Pod settings of executor, run and task, laid over one another."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runabout.executors.errors import InvalidPodError
from runabout.executors.podsettings import merged_settings

small = st.sampled_from(["a", "b", "c"])
maps = st.dictionaries(small, small, max_size=3)
named = st.lists(st.fixed_dictionaries({"name": small}, optional={"emptyDir": maps}), max_size=3)
levels = st.fixed_dictionaries(
    {},
    optional={
        "nodeSelector": maps,
        "labels": maps,
        "annotations": maps,
        "securityContext": maps,
        "volumes": named,
        "imagePullSecrets": named,
        "tolerations": st.lists(maps, max_size=3),
        "affinity": maps,
        "serviceAccountName": small,
        "priorityClassName": small,
        "runtimeClassName": small,
    },
)
Level = dict[str, object]


def merge(*given_levels: Level) -> Level:
    return merged_settings(*(("pod", level) for level in given_levels))


@given(levels, levels, levels)
def test_it_does_not_matter_which_two_are_merged_first(one: Level, two: Level, three: Level) -> None:
    assert merge(merge(one, two), three) == merge(one, merge(two, three)) == merge(one, two, three)


@given(levels)
def test_a_level_that_says_nothing_changes_nothing(level: Level) -> None:
    assert merge(level, {}) == merge({}, level) == merge(level)
    assert merge(level, dict.fromkeys(level)) == merge(level)


@given(levels, levels)
@example({}, {"volumes": [{"name": "a"}, {"name": "a", "emptyDir": {}}, {"name": "a"}]})
def test_the_stronger_level_says_it_last(weak: Level, strong: Level) -> None:
    merged = merge(weak, strong)

    for key, value in strong.items():
        found = merged[key]
        if isinstance(value, dict) and isinstance(found, dict) and key != "affinity":
            assert found.items() >= value.items()
        elif isinstance(value, list) and isinstance(found, list):
            last = {item.get("name"): item for item in value} if key != "tolerations" else {}
            assert all(item in found for item in (last.values() or value))
        else:
            assert found == value


def test_affinity_is_replaced_as_a_whole() -> None:
    assert merge({"affinity": {"nodeAffinity": {}}}, {"affinity": {"podAffinity": {}}})["affinity"] == {
        "podAffinity": {}
    }


@pytest.mark.parametrize(
    ("level", "words"),
    [
        ({"hostNetwork": True}, "pod.hostNetwork: there is no such pod setting; there are affinity, annotations"),
        ({"labels": ["a"]}, "pod.labels: expected an object, found list"),
        ({"volumes": {}}, "pod.volumes: expected a list, found dict"),
        ({"volumes": [{"emptyDir": {}}]}, r"pod.volumes\[0\]: a name is needed"),
        ({"runtimeClassName": 3}, "pod.runtimeClassName: expected a text, found int"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_its_path(level: Level, words: str) -> None:
    with pytest.raises(InvalidPodError, match=words):
        merge(level)
