"""`python -m ssl_dask` is the command line."""

from ssl_dask.cli import main

if __name__ == "__main__":
    main()
