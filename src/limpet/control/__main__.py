"""`python -m limpet.control`: the server, set up by the environment alone."""

import sys

from limpet.control.serve import main

sys.exit(main())
