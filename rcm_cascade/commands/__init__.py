"""What each command of `rcm-cascade` does; `rcm_cascade.cli` parses and calls them."""
