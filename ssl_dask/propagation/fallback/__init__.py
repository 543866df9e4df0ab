"""What labels where the classes of a method have collapsed."""
