"""maskvd: one harness for methods that make video detection with vision transformers cheaper."""

__version__ = "0.1.0"
