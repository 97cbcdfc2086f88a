"""3DIoUMatch: boxes of the teacher that pass two score thresholds are labels."""
