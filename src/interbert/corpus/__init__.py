"""Files of pairs -> a corpus on disk."""
