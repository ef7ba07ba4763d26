"""`python -m wfe`: the command `wfe`, for an environment whose scripts are not on the path."""

from wfe.cli import main

if __name__ == "__main__":
    main()
