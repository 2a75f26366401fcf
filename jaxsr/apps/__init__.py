"""Applications of the library, each behind its own extra."""
