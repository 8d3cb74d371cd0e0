"""`lote storage`: look into storage accounts, copy, delete, sign, for people and scripts."""
