"""What is raised where a cluster is not as it was expected to be."""

from machine.errors import LabError


class KubeError(LabError):
    """The API server refuses, cannot be reached, or what was waited for did not come."""
