"""NVIDIA's admission webhook, registered with the API server of an embedded cluster."""

from typing import Any

import pulumi

from components.manifests import KubernetesObject

NAME = "dra-driver-nvidia-gpu-webhook-config"
"""As the driver's chart calls it, which would run the webhook as a pod."""


def register(
    address: pulumi.Input[dict[str, str]], opts: pulumi.ResourceOptions
) -> KubernetesObject:
    """From here on the API server asks the webhook about each claim and claim template. address:
    clientConfig of a webhook. The rest is that of the chart's own configuration."""
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
    configuration = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": NAME},
        "webhooks": [webhook],
    }
    return KubernetesObject(configuration, "webhook", opts)
