"""What a reader opens in a browser: a mosaic with its patterns, from a folder or served on this machine alone."""
