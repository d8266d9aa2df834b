"""Steps of previews become entries, entries become text and JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from operations.stack import stand_in
from report import preview_diff
from report.preview_diff import ABSENT, Comparison, Entry, Field, Outcome, fields, outcome

COMMAND = "urn:pulumi:dev::lab::c:Check$command:local:Command::check-x"
POD = "urn:pulumi:dev::lab::c:Chapter$kubernetes:core/v1:Pod::pod-1"


def step(op: str, urn: str, old: Any = None, new: Any = None, **more: Any) -> dict[str, Any]:
    found = {"op": op, "urn": urn, **more}
    if old is not None:
        found["oldState"] = {"custom": True, "inputs": old}
    if new is not None:
        found["newState"] = {"custom": True, "inputs": new}
    return found


def pod(image: str) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "side"}, {"name": "hold", "image": image}]}}


def shown(*entries: Entry, **stacks: Outcome) -> str:
    stacks = stacks or {"dev": Outcome("changed", entries)}
    return preview_diff.text(Comparison("HEAD~1", "abc first", (), stacks)).plain


def changed(*found: Field) -> Entry:
    return Entry("change", "Command check-x", "", found)


# --- entries ----------------------------------------------------------------------------------


def test_each_operation_becomes_an_entry_in_a_fixed_order() -> None:
    found = outcome(
        [
            step("delete", f"{POD}-d", old={}),
            step("create", f"{POD}-c", new={}),
            step("same", f"{POD}-s", old={}, new={}),
            step("update", f"{POD}-u", old={"a": 1}, new={"a": 2}),
        ]
    )
    assert [(entry.operation, entry.resource) for entry in found.entries] == [
        ("create", "Pod pod-1-c"),
        ("change", "Pod pod-1-u"),
        ("delete", "Pod pod-1-d"),
    ]
    assert found.unchanged == 1
    assert found.status == "changed"
    assert outcome([step("same", POD, old={}, new={})]).status == "same"


def test_components_and_default_providers_are_left_out() -> None:
    component = {"op": "create", "urn": "urn:pulumi:dev::lab::c:Check::check-x", "newState": {}}
    default = step("create", "urn:pulumi:dev::lab::pulumi:providers:command::default_1_2_1", new={})
    own = step("create", "urn:pulumi:dev::lab::pulumi:providers:kubernetes::cluster", new={})
    assert [entry.resource for entry in outcome([component, default, own]).entries] == [
        "Provider cluster"
    ]


def test_the_field_that_forces_a_replacement_is_marked() -> None:
    (entry,) = outcome(
        [
            step(
                "replace", POD,
                old=pod("a") | {"metadata": {"labels": {"x": "1"}}},
                new=pod("b") | {"metadata": {"labels": {"x": "2"}}},
                replaceReasons=["spec.containers[1].image"],
            )
        ]
    ).entries  # fmt: skip
    assert entry.fields == (
        Field("metadata.labels.x", "1", "2", forces=False),
        Field("spec.containers[hold].image", "a", "b", forces=True),
    )


@pytest.mark.parametrize(
    ("reasons", "said"),
    [(["provider"], "with its provider"), (None, "with what it depends on")],
)
def test_a_replacement_without_such_a_field_says_with_what(
    reasons: list[str] | None, said: str
) -> None:
    (entry,) = outcome(
        [step("replace", POD, old=pod("a"), new=pod("a"), replaceReasons=reasons)]
    ).entries
    assert entry.reason == said


def test_what_a_program_is_told_is_compared_by_field() -> None:
    old = {"stdin": json.dumps({"digest": "1", "parameters": {"nodes": ["a"]}})}
    new = {"stdin": json.dumps({"digest": "2", "parameters": {"nodes": ["a", "b"]}})}
    (entry,) = outcome([step("update", COMMAND, old=old, new=new)]).entries
    assert entry.fields == (
        Field("stdin.digest", "1", "2", forces=False),
        Field("stdin.parameters.nodes[1]", ABSENT, "b", forces=False),
    )


def test_a_named_item_that_is_inserted_does_not_change_the_others() -> None:
    old = {"containers": [{"name": "a", "v": 1}, {"name": "b", "v": 2}]}
    new = {"containers": [{"name": "new"}, {"name": "a", "v": 1}, {"name": "b", "v": 3}]}
    assert fields(old, new, ["containers[2].v"]) == [
        Field("containers[b].v", 2, 3, forces=True),
        Field("containers[new]", ABSENT, {"name": "new"}, forces=False),
    ]
    assert [field.path for field in fields(new, old)] == ["containers[b].v", "containers[new]"]


@pytest.mark.parametrize("cause", ['data["a.py"]', "data", 'data["a.py"].deeper'])
def test_a_cause_may_lie_above_or_below_the_field(cause: str) -> None:
    old = {"data": {"a.py": "1"}, "data2": 1}
    found = fields(old, {"data": {"a.py": "2"}, "data2": 2}, [cause])
    assert {field.path: field.forces for field in found} == {'data["a.py"]': True, "data2": False}


def test_a_stack_that_is_removed_loses_what_would_make_it() -> None:
    found = preview_diff.removed([step("create", POD, new={})])
    assert found == Outcome("removed", (Entry("delete", "Pod pod-1", "", ()),))


# --- text -------------------------------------------------------------------------------------


def test_stacks_that_change_alike_are_shown_once_and_unchanged_ones_last() -> None:
    one = Outcome("changed", (changed(Field("a", 1, 2, forces=False)),), unchanged=5)
    text = shown(
        dev=one,
        module0=Outcome("same", unchanged=3),
        module3=Outcome("changed", one.entries, unchanged=9),
        module9=Outcome("failed", reason="no such thing"),
    )
    assert text.splitlines() == [
        "compared with HEAD~1 (abc first)",
        "",
        "dev, module3: 1 to change",
        "  ~ change Command check-x",
        "      a: 1 → 2",
        "",
        "module9: cannot be previewed: no such thing",
        "",
        "module0: no change",
    ]


def test_a_digest_and_outputs_that_will_be_others_are_put_into_words() -> None:
    text = shown(
        changed(
            Field("stdin.digest", "1", "2", forces=False),
            Field("stdin.subjects[0]", "pod-1", "pod-1, anew", forces=False),
            Field("stdin.subjects[1]", ABSENT, "pod-2, anew", forces=False),
        )
    )
    assert "~ change Command check-x: its program or manifests changed; reads pod-1, pod-2" in text
    assert "stdin" not in text


def test_a_text_of_many_lines_is_shown_by_the_lines_that_differ() -> None:
    old = "".join(f"line {number}\n" for number in range(50))
    text = shown(
        changed(Field("data", old, old.replace("line 20\n", "line twenty\n"), forces=True))
    )
    assert text.splitlines()[4:] == [
        "      data: (forces the replacement)",
        "         line 19",
        "        -line 20",
        "        +line twenty",
        "         line 21",
    ]


def test_a_value_of_many_fields_is_opened_up_and_a_very_long_one_is_cut() -> None:
    text = shown(changed(Field("spec", ABSENT, {"a": 1, "b": {"c": "x"}}, forces=False)))
    assert text.splitlines()[4:] == [
        "      spec:",
        "        +a: 1",
        "        +b:",
        "        +  c: x",
    ]
    text = shown(changed(Field("spec", list(range(100)), ABSENT, forces=False)))
    assert text.splitlines()[-1].strip() == "… 60 more lines; the JSON has them all"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (ABSENT, "x", "added x"),
        ("x", ABSENT, "removed x"),
        ("1", 1, "'1' → 1"),
        ("x" * 120, "y", "\n        -" + "x" * 120 + "\n        +y"),
    ],
)
def test_how_a_field_is_written(old: Any, new: Any, said: str) -> None:
    assert f"      a: {said}".replace(": \n", ":\n") in shown(
        changed(Field("a", old, new, forces=False))
    )


def test_the_json_has_every_field_and_leaves_out_what_is_absent() -> None:
    found = Outcome("changed", (changed(Field("a", ABSENT, [1], forces=True)),), unchanged=2)
    assert preview_diff.as_json(Comparison("HEAD", "abc", ("note",), {"dev": found})) == {
        "base": "HEAD",
        "commit": "abc",
        "notes": ["note"],
        "stacks": {
            "dev": {
                "status": "changed",
                "reason": "",
                "unchanged": 2,
                "entries": [
                    {
                        "operation": "change",
                        "resource": "Command check-x",
                        "reason": "",
                        "fields": [{"path": "a", "new": [1], "forces": True}],
                    }
                ],
            }
        },
    }


# --- errors and assumed outputs ---------------------------------------------------------------


def test_a_check_is_assumed_to_pass_and_a_cluster_to_be_one() -> None:
    told = {"stdin": json.dumps({"module": "3"})}
    result = stand_in.printed("check-x", told, "")
    assert (result["module"], result["status"]) == ("3", "passed")
    assert result["checks"][0]["found"] == "check-x"
    cluster = stand_in.printed("cluster", {"stdin": "{}"}, preview_diff.ANEW)
    assert cluster["cluster_id"] == "cluster, anew"
    assert cluster["gpus"] == [{"uuid": "cluster, anew"}]
    subsets = {"stdin": json.dumps({"subsets": [[0, 2], [1, 3]]})}
    workers = stand_in.printed("gpu-host", subsets, "")["workers"]
    assert [len(worker["gpus"]) for worker in workers] == [2, 2]
