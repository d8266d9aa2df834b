"""The workshop's modules: one file says which manifests, in which order, with which checks."""
