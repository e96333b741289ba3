"""What a venue holds: signers, wollets, and the builder of transactions."""
