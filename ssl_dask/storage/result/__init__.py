"""The parts of a result: columns, types, files."""
