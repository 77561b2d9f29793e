"""From a bundle to vectors, with onnxruntime alone."""

from finetuner.inference.embedder import OnnxEmbedder

__all__ = ["OnnxEmbedder"]
