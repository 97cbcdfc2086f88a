"""The stages of ``tools/gpu_check.py``: each compares or measures one part of the toolkit on a device."""
