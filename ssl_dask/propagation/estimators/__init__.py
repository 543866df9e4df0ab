"""scikit-learn estimators over the methods."""
