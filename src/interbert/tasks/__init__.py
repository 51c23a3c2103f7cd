"""What a pretrained model is finetuned for: one file a task holds its data, head, loss and metric."""
