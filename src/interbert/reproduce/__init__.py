"""The paper's tables again, at the size one chooses, each figure beside the paper's."""
