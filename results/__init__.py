"""Ground floor: what checks find, as JSON, and where it is kept."""
