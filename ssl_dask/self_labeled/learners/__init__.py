"""scikit-learn learners: known ones, fitted ones."""
