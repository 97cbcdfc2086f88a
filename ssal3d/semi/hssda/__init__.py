"""HSSDA: labels of three levels, mined between epochs, and patches that change places."""
