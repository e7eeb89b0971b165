"""Pictures for people: mosaics shrunk to a page, classes in colour, figures with legend and scale bar, PNG."""
