"""AMP0, whole and open: client, server, issuer and chain for AMP0 assets on Liquid."""
