"""Everything that the workshop runs on, from package registries, into `.tools/`."""
