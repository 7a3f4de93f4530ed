"""Comparisons of methods, through the public command line."""
