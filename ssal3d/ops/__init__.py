"""Operators on points, boxes and voxels for the CPU: numba kernels with the semantics of the CUDA ones."""
