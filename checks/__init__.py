"""Programs that look: each verifies one module's statements and prints its verdict as JSON."""
