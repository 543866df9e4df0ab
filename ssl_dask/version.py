"""The version of the package: one number, read by the build."""

__version__ = "0.2.0"
