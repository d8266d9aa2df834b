"""Removes what a program made for itself, which it finds again by a label."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from checks.result import CheckFailed
from kube.client import Kube
from kube.errors import KubeError

SECONDS = 60.0


def remove_labelled(
    kube: Kube, namespace: str, label: str, lister: Callable[..., Any], delete: Callable[..., Any]
) -> None:
    """Remove all objects of that kind with the label, and wait until they are gone. CheckFailed
    with those that are not."""
    selection = {"namespace": namespace, "label_selector": label}
    for item in kube.get(lister, **selection).items:
        with suppress(KubeError):  # gone by itself
            kube.get(delete, item.metadata.name, namespace)
    remaining = kube.wait(lister, lambda items: not items, SECONDS, **selection)
    if remaining:
        names = ", ".join(item.metadata.name for item in remaining)
        raise CheckFailed(f"after {SECONDS:.0f} s still there: {names}")
