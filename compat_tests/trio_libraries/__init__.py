"""Libraries written for Trio, unmodified, doing real work on our core."""
