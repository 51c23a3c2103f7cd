"""Image -> Regions."""
