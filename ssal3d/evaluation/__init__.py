"""How good detections are: average precision and calibration, as pure functions and thin metric shells."""
