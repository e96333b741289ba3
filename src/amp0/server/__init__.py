"""The AMP0 service: logins, addresses, cosigning, and a watch on the chain."""
