"""``python -m minimix``."""

from minimix.cli import main

if __name__ == "__main__":
    main()
