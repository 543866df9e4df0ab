"""Row ids, entities and edges: hashed, checked, joined."""
