"""The PyTorch backend of Finetuner."""
