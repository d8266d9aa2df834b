"""Kubernetes YAML from `manifests/`, as resources.

The files are valid for `kubectl apply`; components patch only what configuration decides.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi
import yaml

from components import schema
from kube.permissions import Permissions, on, plural, within

MANIFESTS = Path("manifests")
Manifest = dict[str, Any]
VERBS = ("create", "get", "watch", "delete")
"""What Pulumi's provider does with an object in the course of its life; of whatever namespace, it
watches the events too."""

VOLUMES = ("PersistentVolume", "PersistentVolumeClaim")
_OUTSIDE = ("Namespace", "Node", "DeviceClass", "ResourceSlice", "PersistentVolume")
"""Kinds of objects that lie in no namespace."""


class ManifestError(pulumi.RunError):
    """A manifest that cannot be used; the text names the file. Pulumi prints no traceback."""


class Objects(dict[str, Manifest]):
    """{"Kind/name": object} of a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def __missing__(self, key: str) -> Manifest:
        found = ", ".join(self)
        raise ManifestError(f"{self.folder}: the module needs {key}; found: {found}")


def load(folder: str, root: Path = MANIFESTS) -> Objects:
    """The objects of `manifests/<folder>/*.yaml` as {"Kind/name": object}, in file order.

    Raises ManifestError for a folder without files, YAML that does not parse, an object without
    apiVersion, kind or name, two objects of the same kind and name, fields that Kubernetes does not
    have or that have another type there, and an object outside the namespace that the folder makes.
    """
    objects = Objects(root / folder)
    origin: dict[str, Path] = {}
    for path in sorted(objects.folder.glob("*.yaml")):
        try:
            documents = schema.documents(path.read_text())
        except yaml.YAMLError as error:
            raise ManifestError(f"{path}: {error}") from error
        for document in documents:
            key = _key(path, document)
            if key in objects:
                raise ManifestError(f"{path}: {key} is defined twice")
            objects[key], origin[key] = document, path
    if not objects:
        raise ManifestError(f"{objects.folder}: no manifests there")
    refused = [
        f"{origin[key]}: {key}: {problem}"
        for key, document in objects.items()
        for problem in schema.problems(document)
    ]
    if refused:
        raise ManifestError("\n".join([*refused, "correct what is named; nothing was changed"]))
    _require_own_namespace(objects, origin)
    return objects


def require(folders: Iterable[str], root: Path = MANIFESTS) -> None:
    """Raise ManifestError, before anything is made, if a folder has manifests that cannot be used.

    Pulumi makes what was registered before an error in the program. A folder may be missing.
    """
    for folder in folders:
        if (root / folder).is_dir():
            load(folder, root)


def _require_own_namespace(objects: Mapping[str, Manifest], origin: Mapping[str, Path]) -> None:
    """The checks find no object elsewhere, and cannot tell it from one of the user's own."""
    made = [item["metadata"]["name"] for item in objects.values() if item["kind"] == "Namespace"]
    for key, item in objects.items():
        found = item["metadata"].get("namespace")
        allowed = [None] if item["kind"] in _OUTSIDE else made
        if made and found not in allowed:
            raise ManifestError(
                f"{origin[key]}: {key}: metadata.namespace: found {found or 'none'}, "
                f"expected {' or '.join(filter(None, allowed)) or 'none'}; correct the manifest"
            )


def _key(path: Path, document: Any) -> str:
    try:
        kind, name = document["kind"], document["metadata"]["name"]
        document["apiVersion"]
    except (KeyError, TypeError):
        raise ManifestError(f"{path}: an object lacks apiVersion, kind or metadata.name") from None
    return f"{kind}/{name}"


class KubernetesObject(pulumi.CustomResource):
    """A manifest as a resource; values in it may be Outputs.

    The manifest is its input: the classes of the provider's package, which take half a second to
    load, would say the same in other words.
    """

    def __init__(self, manifest: Manifest, name: str, opts: pulumi.ResourceOptions) -> None:
        version, kind = manifest["apiVersion"], manifest["kind"]
        if kind == "ResourceClaim":
            # The API server never lets a claim's spec change, and the provider does not know that.
            anew = pulumi.ResourceOptions(replace_on_changes=["spec"])
            opts = pulumi.ResourceOptions.merge(opts, anew)
        group = version if "/" in version else f"core/{version}"
        super().__init__(f"kubernetes:{group}:{kind}", name, dict(manifest), opts)

    @property
    def metadata(self) -> pulumi.Output[Any]:
        return pulumi.get(self, "metadata")  # type: ignore[no-any-return]

    @property
    def uid(self) -> pulumi.Output[str]:
        """Changes when the object was made anew.

        A preview against a cluster that does not answer knows the object's metadata without it.
        """
        return self.metadata.apply(lambda known: str(known.get("uid", "")))


def permissions(folder: str, namespace: str, kinds: Iterable[tuple[str, str]]) -> Permissions:
    """For making and removing the objects of that folder, which lie in that namespace, and beside
    them objects of other kinds (apiVersion, kind). Volumes are not made by every configuration:
    who makes some adds them."""
    found = {(each["apiVersion"], each["kind"]) for each in load(folder).values()} | {*kinds}
    others = ("Namespace", *VOLUMES)
    inside = [of_kind(version, kind) for version, kind in found if kind not in others]
    made = [permission for each in inside for permission in each]
    return (*of_namespace(namespace), *within(namespace, (*made, *on("events", "watch"))))


def of_namespace(name: str) -> Permissions:
    """For the namespace itself. The provider watches its events where those of nodes are."""
    created = (*on("namespaces", "create", "watch"), *on("events", "watch"))
    return (*created, *within(name, on("namespaces", "get", "delete")))


def of_kind(version: str, kind: str, verbs: Sequence[str] = VERBS) -> Permissions:
    group = version.rpartition("/")[0]
    return on(plural(kind), *verbs, group=group)
