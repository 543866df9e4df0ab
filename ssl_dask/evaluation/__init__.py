"""How good the labels are, judged from few: hidden seeds, intervals, baselines, truth."""
