"""A scikit-learn backend for Finetuner."""
