"""What `lote serve` says when it is ready."""

from __future__ import annotations

from pathlib import Path

from lote.cli.ready import Ready


def announcement(ready: Ready, folder: Path, *, first: bool) -> str:
    """Endpoints and how to use them; the keys only the first time, `lote env` has them later."""
    batch, storage = ready.batch, ready.storage
    rows = [("batch account", batch.account), ("endpoint", batch.endpoint)]
    if batch.tls_endpoint:
        rows.append(("", batch.tls_endpoint))
    if first:
        rows += [("key", batch.key), ("second key", batch.key2 or "")]
    if storage is not None:
        rows += [("storage", storage.blob_endpoint or "linked account")]
        if first and storage.key:
            rows.append(("storage key", storage.key))
    if ready.explorer:
        rows.append(("explorer", ready.explorer))
    rows.append(("data", str(folder)))
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}".rstrip() for name, value in rows if value]
    return "\n".join(["Lote is ready.", "", *lines, "", *hints(folder, first=first)])


def hints(folder: Path, *, first: bool) -> list[str]:
    """The next things to type."""
    lines = [
        f'  eval "$(lote env --data {folder})"   # for the SDKs and az',
        f"  lote run --data {folder} -- hostname   # one command as a task",
        "  Ctrl-C stops the service; its state stays in the data folder",
    ]
    return ["The keys are shown this once; `lote env` has them.", *lines] if first else lines
