"""Where chain facts come from: scan requests, updates, and the clients that answer them."""
