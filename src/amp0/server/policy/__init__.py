"""What an asset's issuer allows: rules as values, one pure decision, and where the rules are kept."""
