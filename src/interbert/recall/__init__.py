"""The products of a topic (appendix A.4): an index of a shop's catalogue, and the search in it."""
