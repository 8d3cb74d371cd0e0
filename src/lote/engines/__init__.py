"""Where nodes come from: local processes, scripted ones. The seam is `lote.engines.seam`."""
