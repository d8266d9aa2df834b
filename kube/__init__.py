"""Ground floor: Kubernetes as the lab sees it."""
