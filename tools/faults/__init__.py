"""Faults that the toolkit must survive: damaged and hostile input, kills, full disks."""
