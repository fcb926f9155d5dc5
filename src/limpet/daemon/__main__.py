"""`python -m limpet.daemon`."""

from limpet.daemon.main import main

if __name__ == "__main__":
    main()
