"""Finetuning and evaluation (sections 4.2 and 4.5): one file a task holds its data, head, loss and metric."""
