"""Bytes and values of Elements: keys, scripts, addresses, transactions, blinding, PSET. Pure."""
