"""lensbench: a data-versioned registry of scientific imaging benchmarks and the harness that scores models."""

__version__ = "0.1.0"
