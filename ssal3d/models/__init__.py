"""Detectors that fill the prediction contract; `ssal3d.register` imports and so registers them."""
