"""Ground floor: this machine, and where a stack's files lie on it."""
