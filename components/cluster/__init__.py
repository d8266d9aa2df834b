"""Ways to get a cluster, one a file."""
