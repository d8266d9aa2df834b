"""NVIDIA's admission webhook: a process of an embedded cluster, else a pod of the chart."""

import json
from typing import Any

import pulumi

from components import program
from components.manifests import KubernetesObject, Manifest

SERVICE = "dra-driver-nvidia-gpu-webhook"
NAME = f"{SERVICE}-config"
"""As the driver's chart calls them."""
SECRET = f"{SERVICE}-certificate"


def register(
    address: pulumi.Input[dict[str, str]], opts: pulumi.ResourceOptions
) -> KubernetesObject:
    """From here on the API server asks the webhook about each claim and claim template."""
    return KubernetesObject(configuration(address), "webhook", opts)


def configuration(address: pulumi.Input[dict[str, str]]) -> Manifest:
    """address: clientConfig of a webhook. The rest is that of the chart's own configuration."""
    webhook: dict[str, Any] = {
        "name": "gpu.nvidia.com",
        "clientConfig": address,
        "rules": [
            {
                "apiGroups": ["resource.k8s.io"],
                "apiVersions": ["v1beta1", "v1beta2", "v1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["resourceclaims", "resourceclaimtemplates"],
                "scope": "Namespaced",
            }
        ],
        "failurePolicy": "Fail",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": NAME},
        "webhooks": [webhook],
    }


def in_chart(
    kubeconfig: str, namespace: KubernetesObject, opts: pulumi.ResourceOptions
) -> pulumi.Output[dict[str, Any]]:
    """What the driver's chart is to be told so that it runs the webhook, with a certificate of the
    lab's own: cert-manager is not needed."""
    given = pulumi.Output.all(
        kubeconfig=kubeconfig,
        namespace=namespace.metadata["name"],
        namespace_uid=namespace.uid,
        service=SERVICE,
        secret=SECRET,
    )
    certificate = program.run("webhook-certificate", "operations webhook-certificate", given, opts)
    bundle = certificate.stdout.apply(lambda printed: json.loads(printed)["caBundle"])
    secret = {"name": SECRET, "caBundle": bundle}
    return pulumi.Output.from_input({"enabled": True, "tls": {"mode": "secret", "secret": secret}})
