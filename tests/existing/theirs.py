"""A cluster that is not the lab's: another embedded one, and all that is on it."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from deepdiff import DeepDiff

from components.simulated_gpus import GPU_PROFILES, devices, gpu_uuid
from kube.client import Kube
from tests.checkout import Checkout

STACK = "module3"
NODE = "gpu-node-0"
TARGET = gpu_uuid(NODE, 1)
"""Not the first one, which would be taken without being named."""
PASSING = {"Event"}
"""Kinds that come and go by themselves."""
CLOCKWORK = ("resourceVersion", "managedFields", "generation")
LEASE = ("renewTime", "acquireTime", "leaseTransitions", "holderIdentity")
Objects = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Theirs:
    """folder: of the person whose kubeconfig it is; name: of the cluster's own stack."""

    checkout: Checkout
    name: str
    folder: Path

    @property
    def own(self) -> Path:
        return self.checkout.folder / ".run" / self.name / "kubeconfig"

    @property
    def context(self) -> str:
        return str(yaml.safe_load(self.own.read_text())["current-context"])

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        done = subprocess.run(
            ["kubectl", "--kubeconfig", str(self.own), *arguments], input=given, text=True,
            env=self.checkout.environment(), capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kubeconfig(self, name: str = "config", **user: str) -> Path:
        """A person's kubeconfig: several contexts, certificates by relative paths.

        user: what the user has instead of its certificate.
        """
        content = yaml.safe_load(self.own.read_text())
        cluster, mine = content["clusters"][0]["cluster"], content["users"][0]["user"]
        (self.folder / "pki").mkdir(parents=True, exist_ok=True)
        for entry in (cluster, mine):
            for key in ("certificate-authority", "client-certificate", "client-key"):
                if key in entry:
                    shutil.copy2(entry[key], self.folder / "pki")
                    entry[key] = f"pki/{Path(entry[key]).name}"
        if user:
            content["users"][0]["user"] = user
        other = {"name": "other", "context": {"cluster": "gone", "user": "nobody"}}
        content["contexts"].insert(0, other)
        content["current-context"] = "other"
        path = self.folder / name
        path.write_text(yaml.safe_dump(content))
        return path

    def expired(self) -> dict[str, str]:
        """A user's certificate that the cluster's authority signed, and that ended yesterday."""
        subject = x509.load_pem_x509_certificate((self.pki / "admin.crt").read_bytes()).subject
        return self._certified("expired", subject, datetime.now(UTC) - timedelta(days=1))

    def user(self, name: str) -> dict[str, str]:
        """A user of that name, who may do nothing yet."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._certified(name, subject, datetime.now(UTC) + timedelta(days=1))

    @property
    def pki(self) -> Path:
        return self._made / "pki"

    @property
    def audit_log(self) -> Path:
        return self._made / "logs" / "audit.log"

    @property
    def _made(self) -> Path:
        """What kwokctl made."""
        return self.checkout.folder / ".run" / self.name / "kwok" / "clusters" / self.name

    def _certified(self, name: str, subject: x509.Name, end: datetime) -> dict[str, str]:
        key = serialization.load_pem_private_key((self.pki / "ca.key").read_bytes(), None)
        admin = x509.load_pem_x509_certificate((self.pki / "admin.crt").read_bytes())
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(admin.issuer)
            .public_key(admin.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - timedelta(days=2))
            .not_valid_after(end)
            .sign(key, hashes.SHA256())  # type: ignore[arg-type]
        )
        path = self.folder / "pki" / f"{name}.crt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        return {
            "client-certificate": f"pki/{name}.crt",
            "client-key": str(self.pki / "admin.key"),
        }

    def objects(self) -> Objects:
        """Every object of every kind that can be listed, without what changes by itself."""
        kube = Kube(str(self.own))
        groups = json.loads(kube.text("/apis"))["groups"]
        versions = [v["groupVersion"] for group in groups for v in group["versions"]]
        found: Objects = {}
        for version in ["v1", *versions]:
            root = f"/api/{version}" if version == "v1" else f"/apis/{version}"
            for resource in json.loads(kube.text(root))["resources"]:
                if "list" in resource["verbs"] and resource["kind"] not in PASSING:
                    for item in json.loads(kube.text(f"{root}/{resource['name']}"))["items"]:
                        metadata = item["metadata"]
                        place = f"{metadata.get('namespace', '')}/{metadata['name']}"
                        found[f"{version} {resource['kind']} {place}"] = _steady(
                            item, resource["kind"]
                        )
        return found


def _steady(item: dict[str, Any], kind: str) -> dict[str, Any]:
    item.pop("status", None)
    for name in CLOCKWORK:
        item["metadata"].pop(name, None)
    if kind == "Lease":
        for name in LEASE:
            item.get("spec", {}).pop(name, None)
    return item


def differences(before: Objects, after: Objects) -> list[str]:
    """One line for each object that is new, gone or another one."""
    lines = [f"new: {name}" for name in sorted(set(after) - set(before))]
    lines += [f"gone: {name}" for name in sorted(set(before) - set(after))]
    for name in sorted(set(before) & set(after)):
        if before[name] != after[name]:
            lines.append(f"changed: {name}: {DeepDiff(before[name], after[name]).to_json()}")
    return lines


def simulated_node(name: str) -> dict[str, Any]:
    size = {"cpu": "64", "memory": "512Gi", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"}
            | {f"dra-workshop/{resource}": amount for resource, amount in size.items()},
            "labels": {"nvidia.com/gpu.present": "true"},
        },
    }


def slice_of(node: str, version: str = "0.5.0") -> dict[str, Any]:
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": f"{node}-theirs"},
        "spec": {
            "driver": "gpu.nvidia.com",
            "nodeName": node,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
            "devices": devices(node, 2, GPU_PROFILES["h200"], version),
        },
    }


def lab(folder: Path, theirs: Theirs, **configuration: str | list[str]) -> Checkout:
    """A checkout whose stack is to run on their cluster."""
    made = Checkout.make(folder)
    made.stack(STACK)
    wanted = {
        "cluster": "existing",
        "kubeconfig": str(theirs.kubeconfig()),
        "context": theirs.context,
        "target": TARGET,
    }
    configure(made, **wanted | configuration)
    return made


def refused(theirs: Theirs, ours: Checkout, *told: str, **configuration: str) -> None:
    """With that configuration an update fails, says these things, and changes nothing."""
    path = ours.folder / f"Pulumi.{STACK}.yaml"
    kept, before = path.read_text(), theirs.objects()
    configure(ours, **configuration)
    done = ours.up(STACK)
    path.write_text(kept)
    assert done.code != 0
    assert "Traceback" not in done.text
    for text in told:
        assert text in done.text, done.text
    assert differences(before, theirs.objects()) == []
    assert not (ours.folder / ".run" / STACK / "kubeconfig").exists()


def configure(checkout: Checkout, **values: str | list[str]) -> None:
    """As `pulumi config set` writes it, which takes a second for each."""
    path = checkout.folder / f"Pulumi.{STACK}.yaml"
    content = yaml.safe_load(path.read_text())
    content["config"] |= {f"dra-workshop:{key}": value for key, value in values.items()}
    path.write_text(yaml.safe_dump(content))
