"""Lote: a batch computing service that speaks the Azure Batch protocol and runs anywhere."""

__version__ = "0.1.0"
