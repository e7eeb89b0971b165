"""Pages and tables: of one run, of an evaluation, and of a sweep, whose configurations are compared with intervals."""
