"""Work on one block: NumPy, SciPy and Numba, without Dask and without paths."""
