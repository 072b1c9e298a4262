"""quattro's own tests, with this package under quattro's name."""
