"""Whether a manifest has only fields that Kubernetes has, of their types; no cluster is asked.

The fields are those of the input classes of the provider's package, which the graph loads anyway.
An API server would drop a field that it does not know, and the lab would pass without it.
"""

import collections.abc
import difflib
import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, get_args, get_origin

import pulumi
import pulumi_kubernetes as k8s
import yaml
from pulumi import _types as inputs  # what Pulumi itself asks of them; its version is locked

QUANTITIES = ("limits", "requests", "hard", "capacity", "sizeLimit", "value")
"""Fields that hold quantities, which may be numbers; to the package they are text."""
QUANTITY_VALUES = ("DeviceCapacityArgs", "CounterArgs")
"""Of these alone `value` is one."""
INIT = "InitArgs"
CONTAINERS: Mapping[Any, tuple[Any, str]] = {
    collections.abc.Sequence: (list, "a list"),
    collections.abc.Mapping: (dict, "keys with values"),
}
WORDS: Mapping[type, str] = {str: "text", bool: "true or false", int: "a whole number"}


class UniqueKeys(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Refuses a key that is given twice, where YAML's own loader takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: set[str] = set()
        for key, _ in node.value:
            if (name := str(key.value)) in keys:
                problem = f"'{name}' is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            keys.add(name)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def documents(text: str) -> list[Any]:
    """The YAML documents. Raises yaml.YAMLError, with line and column."""
    return list(yaml.load_all(text, UniqueKeys))


def problems(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with it, each with the path of the field and what is allowed.

    Of what extends Kubernetes (its own APIs end in k8s.io) only the cluster knows the fields.
    """
    version, kind = str(manifest["apiVersion"]), str(manifest["kind"])
    group, _, number = version.rpartition("/")
    if "." in group and not group.endswith(".k8s.io"):
        return
    known = _kinds(group or "core", number)
    if not known:
        yield f"apiVersion: Kubernetes has no {version}"
    elif kind not in known:
        yield f"kind: {version} has no {kind}; {_allowed(kind, known)}"
    else:
        yield from _fields(manifest, known[kind], "")


def _kinds(group: str, version: str) -> dict[str, type]:
    """The kinds that can be made (of lists there are none) → what they have; {} for no such API."""
    try:
        package = import_module(f"{k8s.__name__}.{group.partition('.')[0]}.{version}")
    except ImportError:
        return {}
    made = {name.removesuffix(INIT): cls for name, cls in vars(package).items() if INIT in name}
    tokens = {name: getattr(getattr(package, name, None), "pulumi_type", "") for name in made}
    own = f"kubernetes:{group}/{version}:"
    return {name: cls for name, cls in made.items() if tokens[name] == own + name}


def _fields(value: Any, cls: type, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: expected fields, found {_found(value)}"
        return
    types = inputs.input_type_types(cls)
    for name, given in value.items():
        at = f"{path}.{name}".lstrip(".")
        if name not in types:
            yield f"{at}: there is no such field; {_allowed(str(name), types)}"
        elif not (_is_number(given) and _holds_quantity(cls, name)):
            yield from _value(given, types[name], at)
    names = inputs.input_type_py_to_pulumi_names(cls)
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.default is parameter.empty and parameter.name in names:
            name = names[parameter.name]
            if value.get(name) is None:
                yield f"{path}.{name}: it is missing".lstrip(".")


def _value(value: Any, kind: Any, path: str) -> Iterator[str]:
    """null is a value that is not given."""
    allowed = _alternatives(kind)
    if value is None or Any in allowed:
        return
    (first, *_) = allowed
    container, parts = get_origin(first), get_args(first)
    python_type, words = CONTAINERS.get(container, (object, ""))
    if inspect.isclass(first) and inputs.is_input_type(first):
        yield from _fields(value, first, path)
    elif not isinstance(value, python_type):
        yield f"{path}: expected {words}, found {_found(value)}"
    elif container is collections.abc.Sequence:
        for index, item in enumerate(value):
            yield from _value(item, parts[0], f"{path}[{index}]")
    elif container is collections.abc.Mapping:
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"{path}: expected text as a key, found {_found(key)}; quote it"
            elif not (_is_number(item) and path.rpartition(".")[2] in QUANTITIES):
                yield from _value(item, parts[1], f"{path}.{key}")
    elif type(value) not in allowed and not (float in allowed and _is_number(value)):
        words = " or ".join(WORDS.get(each, "a number") for each in allowed)
        quote = "; quote it" if str in allowed and not isinstance(value, (list, dict)) else ""
        yield f"{path}: expected {words}, found {_found(value)}{quote}"


def _alternatives(kind: Any) -> list[Any]:
    """The types of a value, without what only stands for one that is known later."""
    parts = get_args(kind) if get_origin(kind) not in (None, *CONTAINERS) else ()
    later = (collections.abc.Awaitable, pulumi.Output)
    return [part for part in parts if get_origin(part) not in later] or [kind]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _holds_quantity(cls: type, name: str) -> bool:
    return name in QUANTITIES and (name != "value" or cls.__name__ in QUANTITY_VALUES)


def _found(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return "fields" if isinstance(value, dict) else "a list"
    return f"the text '{value}'" if isinstance(value, str) else json.dumps(value, default=str)


def _allowed(name: str, known: Iterable[str]) -> str:
    small = {each.lower(): each for each in known}
    if close := difflib.get_close_matches(name.lower(), small, 1):
        return f"did you mean {small[close[0]]}?"
    return f"allowed: {', '.join(sorted(known))}"
