"""Other people's weights, by readable tables."""
