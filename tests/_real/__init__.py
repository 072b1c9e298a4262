"""Libraries and servers at work: what tests/net/real and tests/cross/real share."""
