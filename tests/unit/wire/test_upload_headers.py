"""Headers of uploads: what a task may say, and what no header can be."""

from __future__ import annotations

import pytest

from lote.wire.check_tasks import check_output_files
from lote.wire.errors import Refused
from lote.wire.task import (
    OutputFile,
    OutputFileBlobContainerDestination,
    OutputFileDestination,
    OutputFileUploadConfiguration,
    OutputFileUploadHeader,
)


def output(name: str, value: str | None) -> OutputFile:
    container = OutputFileBlobContainerDestination(
        container_url="https://a.blob.example.net/c?sig=s",
        upload_headers=[OutputFileUploadHeader(name=name, value=value)],
    )
    return OutputFile(
        file_pattern="*",
        destination=OutputFileDestination(container=container),
        upload_options=OutputFileUploadConfiguration(upload_condition="taskcompletion"),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("x-ms-blob-content-type", "text/plain; charset=utf-8"), ("Cache-Control", None), ("a", "ü")],
)
def test_headers_pass(name: str, value: str | None) -> None:
    check_output_files("outputFiles", [output(name, value)])


@pytest.mark.parametrize(
    ("name", "value", "member"),
    [
        ("", "x", "name"),
        ("two words", "x", "name"),
        ("colon:", "x", "name"),
        ("x-ms-meta-ü", "x", "name"),
        ("x-ms-meta-a", "1\r\nx-ms-meta-b: 2", "value"),
        ("x-ms-meta-a", "\0", "value"),
    ],
)
def test_what_is_no_header_is_refused(name: str, value: str, member: str) -> None:
    with pytest.raises(Refused) as refused:
        check_output_files("outputFiles", [output(name, value)])
    assert refused.value.code == "InvalidPropertyValue"
    told = str(refused.value.values)
    assert f"outputFiles[0].destination.container.uploadHeaders[0].{member}" in told
