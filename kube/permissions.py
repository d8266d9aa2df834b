"""What may be done on a cluster, as Kubernetes' authorization knows it.

What the lab needs is declared where it is done: each module that reads or makes something on a
cluster has a table PERMISSIONS. A check program has one for all that it does in the namespaces of
its module (in none, where that makes none), and IN_DRIVER for what it does in the driver's.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

DRA = "resource.k8s.io"


@dataclass(frozen=True, order=True)
class Permission:
    """resource: with its subresource, as "pods/log"; namespace: "" for all of them, and for what
    lies in none; real: needed on real nodes only."""

    resource: str
    verb: str
    group: str = ""
    namespace: str = ""
    real: bool = False

    def __str__(self) -> str:
        """As in "create jobs.batch in dra-module5"."""
        what = ".".join(filter(None, (self.resource, self.group)))
        return f"{self.verb} {what}" + (f" in {self.namespace}" if self.namespace else "")

    @classmethod
    def parse(cls, text: str) -> "Permission":
        """The reverse of str."""
        what, _, namespace = text.partition(" in ")
        verb, _, name = what.partition(" ")
        resource, _, group = name.partition(".")
        return cls(resource, verb, group, namespace)


Permissions = tuple[Permission, ...]


def plural(kind: str) -> str:
    """As Kubernetes names the resource of a kind."""
    word = kind.lower()
    if word.endswith("y"):
        return f"{word.removesuffix('y')}ies"
    return f"{word}es" if word.endswith("s") else f"{word}s"


def on(resource: str, *verbs: str, group: str = "", real: bool = False) -> Permissions:
    return tuple(Permission(resource, verb, group, real=real) for verb in verbs)


def within(namespace: str, permissions: Iterable[Permission]) -> Permissions:
    """The same in that namespace only."""
    return tuple(replace(each, namespace=namespace) for each in permissions)


def in_words(refused: Iterable[Permission]) -> str:
    """For a person: verbs of a resource together, and namespaces in which they are the same."""
    verbs: dict[Permission, list[str]] = {}
    for each in sorted(refused):
        verbs.setdefault(replace(each, verb=""), []).append(each.verb)
    namespaces: dict[tuple[Permission, bool], list[str]] = {}
    for what, found in verbs.items():
        # "" is everywhere, and no namespace among others.
        everywhere = replace(what, verb=", ".join(found), namespace="")
        key = (everywhere, bool(what.namespace))
        namespaces.setdefault(key, []).append(what.namespace)
    return "; ".join(
        str(replace(what, namespace=", ".join(found))) for (what, _), found in namespaces.items()
    )
