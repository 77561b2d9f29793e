"""The Keras backend of Finetuner."""
