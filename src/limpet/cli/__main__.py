"""`python -m limpet.cli`."""

import sys

from limpet.cli.main import main

sys.exit(main())
