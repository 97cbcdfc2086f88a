"""The built-in LiDAR pool: a procedural street simulator that writes the KITTI object layout."""
