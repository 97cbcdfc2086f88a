"""Joint3D-style consistency: student and teacher must agree on where boxes are."""
