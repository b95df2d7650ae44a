"""The platforms' stores: how their receipts are read, verified, and told that all is done."""
