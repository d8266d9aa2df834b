"""The resource graph: one component a file, typed arguments, few outputs."""
