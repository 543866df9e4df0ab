"""Steps 4 to 6 for each kind of label: infer, judge, decide, write, report."""
