"""Files in and out of the storage account, through the official storage SDK."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import (
    BlobSasPermissions,
    BlobServiceClient,
    ContainerClient,
    ContainerSasPermissions,
    generate_blob_sas,
    generate_container_sas,
)

SIGNED_FOR = timedelta(hours=2)


def make_container(storage: BlobServiceClient, name: str) -> ContainerClient:
    """The container of that name, made if it is not there yet."""
    container = storage.get_container_client(name)
    try:
        container.create_container()
    except ResourceExistsError:
        return container
    return container


def upload(container: ContainerClient, files: list[Path]) -> None:
    """Put each file into the container under its own name."""
    for path in files:
        with path.open("rb") as content:
            container.upload_blob(path.name, content, overwrite=True, max_concurrency=2)


def readable_url(container: ContainerClient, blob_name: str) -> str:
    """A URL that lets its holder read this one blob for a while."""
    blob = container.get_blob_client(blob_name)
    sas = generate_blob_sas(
        str(blob.account_name),
        blob.container_name,
        blob.blob_name,
        account_key=container.credential.account_key,
        permission=BlobSasPermissions(read=True),
        expiry=datetime.now(UTC) + SIGNED_FOR,
    )
    return f"{blob.url}?{sas}"


def writable_url(container: ContainerClient) -> str:
    """A URL that lets its holder add blobs to the container for a while."""
    sas = generate_container_sas(
        str(container.account_name),
        container.container_name,
        account_key=container.credential.account_key,
        permission=ContainerSasPermissions(write=True, create=True, add=True),
        expiry=datetime.now(UTC) + SIGNED_FOR,
    )
    return f"{container.url}?{sas}"


def download(container: ContainerClient, blob_name: str, folder: Path) -> Path:
    """Copy a blob into a folder."""
    path = folder / blob_name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as sink:
        container.download_blob(blob_name).readinto(sink)
    return path
