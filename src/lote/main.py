"""The command `lote`: the one place where the terminal and the server meet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from lote.cli.app import Data, Format, Output, app, fail, notify
from lote.cli.rehearsing import rehearse
from lote.cli.storage.commands import storage
from lote.settings import Settings, settings_from

FOLDER_REFUSED = 3
"""Exit code for a data folder on which no server may run: trying again does not help."""

app.add_typer(storage, name="storage")
app.add_typer(rehearse, name="rehearse")


def port_option(flag: str, text: str) -> typer.models.OptionInfo:
    """One of the four port options."""
    return typer.Option(flag, min=0, max=65535, help=text)  # type: ignore[no-any-return]


# long: one parameter a flag, and each is passed on under its own name
@app.command()
def serve(
    data: Data = None,
    node_root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where local nodes live.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[
        int | None, port_option("--port", "Plain HTTP; 0 takes free ports for all listeners.")
    ] = None,
    tls_port: Annotated[int | None, port_option("--tls-port", "HTTPS.")] = None,
    storage_port: Annotated[int | None, port_option("--storage-port", "Blob storage.")] = None,
    storage_tls_port: Annotated[
        int | None, port_option("--storage-tls-port", "Blob storage over HTTPS.")
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Written when every listener answers.")
    ] = None,
    account: Annotated[str | None, typer.Option(help="Name of the first account.")] = None,
    account_key: Annotated[str | None, typer.Option(help="Its key, base64.")] = None,
    storage_account: Annotated[
        str | None, typer.Option(help="Name of the storage account.")
    ] = None,
    storage_key: Annotated[str | None, typer.Option(help="Its key, base64.")] = None,
    storage_connection_string: Annotated[
        str | None, typer.Option(help="Link this storage account instead of the built-in one.")
    ] = None,
    storage_host_suffix: Annotated[
        str | None, typer.Option(help="End of the storage account's host names.")
    ] = None,
    allow_blob_public_access: Annotated[
        bool | None,
        typer.Option("--allow-blob-public-access", help="Containers can be opened to all."),
    ] = None,
    token_issuer: Annotated[
        list[str] | None,
        typer.Option(metavar="ISSUER=JWKS", help="Take bearer tokens of this issuer as well."),
    ] = None,
    leave_nodes: Annotated[
        bool, typer.Option("--leave-nodes", help="Local nodes work on when the server stops.")
    ] = False,
    allow_insecure_network: Annotated[
        bool, typer.Option("--allow-insecure-network", help="Plain HTTP beyond this machine.")
    ] = False,
    node_grace_s: Annotated[
        float | None, typer.Option(help="Seconds a node may be away before it is lost.")
    ] = None,
) -> None:
    """Run the service until Ctrl-C; its whole state is in the data folder."""
    from lote.cli.given import BadSetting, check_settings
    from lote.server.folder import FolderInUse, FolderRefused
    from lote.server.main import serve as serve_until_stopped

    # Free ports for all listeners, unless one was given by hand.
    others = 0 if port == 0 else None
    settings = settings_or_exit(
        folder=data,
        node_root=node_root,
        host=host,
        http_port=port,
        tls_port=others if tls_port is None else tls_port,
        storage_port=others if storage_port is None else storage_port,
        storage_tls_port=others if storage_tls_port is None else storage_tls_port,
        ready_file=ready_file,
        account=account,
        account_key=account_key,
        storage_account=storage_account,
        storage_key=storage_key,
        storage_connection_string=storage_connection_string,
        storage_host_suffix=storage_host_suffix,
        allow_blob_public_access=allow_blob_public_access,
        token_issuers=" ".join(token_issuer) if token_issuer else None,
        leave_nodes=leave_nodes,
        allow_insecure_network=allow_insecure_network,
        node_grace_s=node_grace_s,
    )
    try:
        check_settings(settings)
        raise typer.Exit(
            serve_until_stopped(
                settings, on_ready=lambda facts, is_new: announce(settings, facts, is_new)
            )
        )
    except (BadSetting, FolderInUse, OSError) as error:
        raise fail(str(error)) from None
    except FolderRefused as error:
        raise fail(str(error), FOLDER_REFUSED) from None


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(metavar="DEST", help="Folder to make; must be new.")],
    data: Data = None,
    output: Output = Format.TABLE,
) -> None:
    """Copy the data folder, keys and blobs included, while its service runs or not."""
    from lote.cli.watching import progress_bar
    from lote.upkeep.backup import make_backup
    from lote.upkeep.failure import BackupFailed
    from lote.world import World

    folder = settings_or_exit(folder=data).folder
    try:
        with progress_bar(wanted=output is Format.TABLE) as show:
            manifest = make_backup(folder, target, World(), lambda step: show(*step))
    except BackupFailed as error:
        raise fail(str(error)) from None
    if output is Format.JSON:
        print(msgspec.json.format(msgspec.json.encode(manifest), indent=2).decode())
    else:
        print(f"{target}: {manifest.files} files, {manifest.bytes} bytes. It holds the keys.")
    if manifest.lost_blob_files:
        notify(f"{manifest.lost_blob_files} blob files were missing before this backup")


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="What `lote backup` made.")],
    data: Data = None,
    output: Output = Format.TABLE,
) -> None:
    """Make a data folder from a backup. The folder must be empty; then `lote serve` it."""
    from lote.cli.watching import progress_bar
    from lote.upkeep.failure import RestoreFailed
    from lote.upkeep.restore import restore_backup
    from lote.world import World

    folder = settings_or_exit(folder=data).folder
    try:
        with progress_bar(wanted=output is Format.TABLE) as show:
            manifest = restore_backup(source, folder, World(), lambda step: show(*step))
    except RestoreFailed as error:
        raise fail(str(error)) from None
    if output is Format.JSON:
        print(msgspec.json.format(msgspec.json.encode(manifest), indent=2).decode())
    else:
        print(f"{folder}: {manifest.files} files of {manifest.made}. Next: lote serve")


def settings_or_exit(**given: object) -> Settings:
    """Settings from flags and environment; a value of the wrong kind is said in words."""
    try:
        return settings_from(os.environ, **given)
    except msgspec.ValidationError as error:
        raise fail(f"a setting is of the wrong kind: {error}", 2) from None


def announce(settings: Settings, facts: dict[str, Any], is_new: bool) -> None:
    """Say that the service answers, and where."""
    from lote.cli.announce import announcement
    from lote.cli.ready import Ready

    ready = msgspec.convert(facts, Ready)
    print(announcement(ready, settings.folder, first=is_new), flush=True)


def main() -> None:
    """Entry point of the console script."""
    app(prog_name="lote")


if __name__ == "__main__":
    main()
