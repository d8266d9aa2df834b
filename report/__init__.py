"""Results for people: the JSON of the checks as tables."""
