"""The protocol's contract: names, shapes, formats and errors, with no opinion on behaviour."""
