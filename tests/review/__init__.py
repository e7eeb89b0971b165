"""The reader's page."""
