"""`python -m yue`."""

from yue.cli import main

if __name__ == "__main__":
    main()
