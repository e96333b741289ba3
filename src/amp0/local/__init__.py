"""The local stack and the demo: chain, server and client composed on loopback."""
