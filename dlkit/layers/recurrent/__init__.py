"""Recurrent layers: cells, the layers that run them over a sequence, and stacks of layers."""

__all__ = ["cells", "layers", "stack"]
