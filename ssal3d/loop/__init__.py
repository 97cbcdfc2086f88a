"""The experiment: rounds of ordinary training stages, queries and annotation, with a journal that resume trusts."""
