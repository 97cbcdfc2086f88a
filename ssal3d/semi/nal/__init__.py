"""NAL in 3D: confident boxes become labels once, mirrored views must agree."""
