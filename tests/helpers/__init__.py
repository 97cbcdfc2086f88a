"""What several test modules share; import it as ``tests.helpers.<module>``."""
