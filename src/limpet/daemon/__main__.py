"""`python -m limpet.daemon` and the command `limpet-daemon`."""

import gc

gc.disable()  # a start makes no garbage, and looking for some takes a tenth of it; main.py ends it

from limpet.daemon.main import main  # noqa: E402

if __name__ == "__main__":
    main()
