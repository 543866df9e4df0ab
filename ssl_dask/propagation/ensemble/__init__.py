"""The default method: members weighed on hidden seeds, then a pass from pseudo-labels."""
