"""Where every unit of the assets issued here is: outputs with their openings, and what is read from them."""
