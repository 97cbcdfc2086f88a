"""One query: which frames may be bought, in which order and for how much, and the file that says so."""
