"""How fast it is, beside what users would take otherwise."""
