"""`python -m genremill <job> …`: the same as the console script `genremill`."""

import sys

from genremill.jobs.cli import main

if __name__ == "__main__":
    sys.exit(main())
