"""Programs that change something on the operator's side: clusters, stack configuration. Commands of
the graph and the Makefile run them as `python -m operations …`. What only looks is in `checks/`."""
