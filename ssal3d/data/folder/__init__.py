"""Own data: a folder of scans in any common format, labelled in part, with or without cameras."""
