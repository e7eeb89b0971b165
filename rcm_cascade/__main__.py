"""`python -m rcm_cascade`: the command where no console script is installed."""

import sys

from rcm_cascade.cli import main

if __name__ == "__main__":
    sys.exit(main())
