"""The loop, checkpoints, processes: for pretraining and every task."""
