"""From a trained state to a bundle whose ONNX is checked against the framework."""

from finetuner.export.bundle import export_bundle
from finetuner.export.parity import TOLERANCE, check_parity

__all__ = ["TOLERANCE", "check_parity", "export_bundle"]
