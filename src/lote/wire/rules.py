"""Rules on one value of a request body, shared by the checks of all nouns.

Each function takes the dotted JSON name of the member and its value, and refuses with both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from lote.wire.errors import Refused, invalid_property, missing_property
from lote.wire.formats import format_duration, parse_duration, parse_timestamp
from lote.wire.shared import (
    ApplicationPackageReference,
    ContainerRegistryReference,
    EnvironmentSetting,
    MetadataItem,
    ResourceFile,
    TaskContainerSettings,
    UserIdentity,
)

DISPLAY_NAME_CHARS_MAX = 1024  # REST: displayName of every noun
APPLICATION_PACKAGES_MAX = 10  # REST: package references of a pool
APPLICATION_ID_CHARS_MAX = 64  # REST: ids of applications
RESOURCE_FILES_MAX = 5000  # ours: REST says that lists can be too long, and not from where on
_VERSION_CHARS_MAX = 64  # REST: version of an application package

_FILE_MODE = re.compile(r"(?:0o)?[0-7]{1,5}", re.ASCII)
_FILE_MODE_MAX = 0o7777  # chmod(2): permission, set-id and sticky bits
_WEB_URL = re.compile(r"https?://[^\s/?#@]++(?:[/?#]\S*+)?", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")
_SIMPLE_PATH = re.compile(r"[\w-][\w./-]*", re.ASCII)  # relative, and no way to write a drive
_SEPARATORS = re.compile(r"[/\\]")
# Where a leading variable of an output pattern points, as levels below the task's directory.
_LEVEL_OF_VARIABLE = {"AZ_BATCH_TASK_DIR": 0, "AZ_BATCH_TASK_WORKING_DIR": 1}
_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}|%(\w+)%", re.ASCII)


def check_display_name(value: str | None, prefix: str = "") -> None:
    """Refuse a display name of more than 1024 characters."""
    if value is not None and len(value) > DISPLAY_NAME_CHARS_MAX:
        reason = f"A display name has at most {DISPLAY_NAME_CHARS_MAX} characters."
        raise invalid_property(prefix + "displayName", value, reason)


def check_text(name: str, value: str) -> None:
    """Refuse an empty text, and one with a NUL, which no process could be given."""
    if not value.strip():
        raise invalid_property(name, value, "The value must not be empty.")
    if "\0" in value:
        raise invalid_property(name, None, "The value must not contain a NUL character.")


def check_range(name: str, value: int | None, low: int, high: int) -> None:
    """Refuse a number outside ``low`` to ``high``, both included."""
    if value is not None and not low <= value <= high:
        raise invalid_property(name, value, f"The value must be between {low} and {high}.")


def check_at_least(name: str, value: int | None, low: int) -> None:
    """Refuse a number below ``low``."""
    if value is not None and value < low:
        raise invalid_property(name, value, f"The value must be at least {low}.")


def check_duration(
    name: str, value: str | None, min_s: float = 0, max_s: float | None = None
) -> None:
    """Refuse what is no duration, or one outside ``min_s`` to ``max_s`` seconds."""
    if value is None:
        return
    try:
        seconds = parse_duration(value)
    except ValueError:
        raise invalid_property(name, value, "An ISO-8601 duration is expected.") from None
    if seconds is not None and seconds < min_s:
        reason = f"The duration must be at least {format_duration(min_s)}."
        raise invalid_property(name, value, reason)
    if max_s is not None and (seconds is None or seconds > max_s):
        reason = f"The duration must be at most {format_duration(max_s)}."
        raise invalid_property(name, value, reason)


def check_timestamp(name: str, value: str | None) -> None:
    """Refuse what is no moment in time."""
    if value is None:
        return
    try:
        parse_timestamp(value)
    except ValueError:
        raise invalid_property(name, value, "An ISO-8601 timestamp is expected.") from None


def check_order(first_name: str, first: str | None, last_name: str, last: str | None) -> None:
    """Refuse two checked moments of which the second is before the first."""
    if first is None or last is None:
        return
    if parse_timestamp(last) < parse_timestamp(first):
        leaf = first_name.rpartition(".")[2]
        raise invalid_property(last_name, last, f"The moment must not be before {leaf}.")


def refuse_reference(name: str, kind: str) -> NoReturn:
    """Refuse what could only refer to something in the provider's cloud, which cannot be here.

    The value, an id of many parts, is not repeated.
    """
    reason = f"There is no {kind} behind this service; leave the property out."
    raise invalid_property(name, None, reason)


def check_url(name: str, value: str) -> None:
    """Refuse what is no http or https URL with a host."""
    if not _WEB_URL.fullmatch(value):
        raise invalid_property(name, value, "An http or https URL is expected.")


def check_exactly_one(prefix: str, given: Sequence[tuple[str, object]]) -> None:
    """Refuse unless exactly one of the named members is given."""
    present = [name for name, value in given if value is not None]
    if len(present) == 1:
        return
    names = ", ".join(name for name, _ in given)
    if present:
        raise invalid_property(prefix + present[1], None, f"Only one of {names} may be given.")
    raise missing_property(prefix + given[0][0])


def check_relative_path(name: str, value: str) -> None:
    """Refuse a path that could lead out of its folder: absolute, or ``..`` beyond its root."""
    _check_path_form(name, value)
    if _lowest_level(value, 0) < 0:
        raise invalid_property(name, value, "The path must stay inside its folder.")


def check_output_pattern(name: str, value: str) -> None:
    """Refuse a pattern that leaves the task's directory, one level above its working directory.

    A leading variable that names another folder is left to the node, which checks each file again.
    """
    check_text(name, value)
    variable = _VARIABLE.match(value)
    level: int | None = 1
    rest = value
    if variable is not None:
        level = _LEVEL_OF_VARIABLE.get(next(word for word in variable.groups() if word))
        rest = value[variable.end() :].lstrip("/\\")
    if rest:
        _check_path_form(name, rest)
    if level is not None and _lowest_level(rest, level) < 0:
        raise invalid_property(name, value, "The pattern must stay inside the task's directory.")


def check_metadata(items: list[MetadataItem] | None, prefix: str = "") -> None:
    """Refuse an item without a name (EmptyMetadataKey)."""
    for index, item in enumerate(items or ()):
        if not item.name.strip():
            name = f"{prefix}metadata[{index}].name"
            reason = "The name of a metadata item must not be empty."
            raise Refused("EmptyMetadataKey", values=[("PropertyName", name), ("Reason", reason)])


def check_environment(name: str, settings: list[EnvironmentSetting] | None) -> None:
    """Refuse a variable no process could be given: no name, ``=`` in it, a NUL anywhere."""
    for index, setting in enumerate(settings or ()):
        variable = setting.name
        if not variable or "=" in variable or "\0" in variable:
            reason = "A variable's name is not empty and has neither = nor NUL."
            raise invalid_property(f"{name}[{index}].name", variable, reason)
        if setting.value is not None and "\0" in setting.value:
            reason = "The value must not contain a NUL character."
            raise invalid_property(f"{name}[{index}].value", None, reason)


def check_resource_files(name: str, files: list[ResourceFile] | None) -> None:
    """Check every resource file of a list. Refuses also: RequestEntityTooLarge."""
    if files is not None and len(files) > RESOURCE_FILES_MAX:
        reason = f"A task has at most {RESOURCE_FILES_MAX} resource files; name a container."
        values = [("PropertyName", name), ("Reason", reason)]
        raise Refused("RequestEntityTooLarge", values=values)
    for index, file in enumerate(files or ()):
        if not _is_plain_download(file):
            _check_resource_file(f"{name}[{index}].", file)


def check_user_identity(name: str, identity: UserIdentity | None) -> None:
    """Refuse unless exactly one of username and autoUser is given."""
    if identity is None:
        return
    given = [("username", identity.username), ("autoUser", identity.auto_user)]
    check_exactly_one(name + ".", given)
    if identity.username is not None:
        check_text(name + ".username", identity.username)


def check_packages(
    name: str,
    packages: list[ApplicationPackageReference] | None,
    count_max: int | None = None,
) -> None:
    """Refuse references without an application, too long versions, too many references."""
    if count_max is not None and len(packages or ()) > count_max:
        raise invalid_property(name, len(packages or ()), f"At most {count_max} are allowed.")
    for index, package in enumerate(packages or ()):
        check_text(f"{name}[{index}].applicationId", package.application_id)
        version = package.version
        if version is not None and len(version) > _VERSION_CHARS_MAX:
            reason = f"A version has at most {_VERSION_CHARS_MAX} characters."
            raise invalid_property(f"{name}[{index}].version", version, reason)


def refuse_packages(packages: Sequence[ApplicationPackageReference]) -> NoReturn:
    """Refuse references to applications, of which the account has none."""
    values = [
        ("PropertyName", "applicationPackageReferences[0].applicationId"),
        ("PropertyValue", packages[0].application_id[:APPLICATION_ID_CHARS_MAX]),
        ("Reason", "The account has no application of this id and version."),
    ]
    raise Refused("InvalidApplicationPackageReferences", values=values)


def check_container(name: str, settings: TaskContainerSettings | None) -> None:
    """Refuse container settings without an image."""
    if settings is None:
        return
    check_text(name + ".imageName", settings.image_name)
    if settings.registry is not None:
        check_registry(name + ".registry", settings.registry)
    for index, mount in enumerate(settings.container_host_batch_bind_mounts or ()):
        if mount.source is None:
            raise missing_property(f"{name}.containerHostBatchBindMounts[{index}].source")


def check_registry(name: str, registry: ContainerRegistryReference) -> None:
    """Refuse a registry that is to be entered with an identity."""
    if registry.identity_reference is not None:
        refuse_reference(name + ".identityReference", "managed identity")


def _is_plain_download(file: ResourceFile) -> bool:
    """Whether a file is what nearly all are, one URL to one simple path; the others take longer."""
    url, path = file.http_url, file.file_path
    return (
        url is not None
        and path is not None
        and file.storage_container_url is None
        and file.auto_storage_container_name is None
        and file.blob_prefix is None
        and file.file_mode is None
        and _SIMPLE_PATH.fullmatch(path) is not None
        and ".." not in path
        and _WEB_URL.fullmatch(url) is not None
    )


def _check_resource_file(prefix: str, file: ResourceFile) -> None:
    given = [
        ("httpUrl", file.http_url),
        ("storageContainerUrl", file.storage_container_url),
        ("autoStorageContainerName", file.auto_storage_container_name),
    ]
    check_exactly_one(prefix, given)
    if file.http_url is not None:
        check_url(prefix + "httpUrl", file.http_url)
        if file.file_path is None or not file.file_path.strip():
            raise missing_property(prefix + "filePath")
        if file.blob_prefix is not None:
            reason = "A blob prefix is allowed only with a container."
            raise invalid_property(prefix + "blobPrefix", file.blob_prefix, reason)
    if file.storage_container_url is not None:
        check_url(prefix + "storageContainerUrl", file.storage_container_url)
    if file.auto_storage_container_name is not None:
        check_text(prefix + "autoStorageContainerName", file.auto_storage_container_name)
    if file.file_path:
        check_relative_path(prefix + "filePath", file.file_path)
    _check_file_mode(prefix + "fileMode", file.file_mode)


def _check_file_mode(name: str, mode: str | None) -> None:
    if mode is None or mode == "":
        return
    if not _FILE_MODE.fullmatch(mode) or int(mode.removeprefix("0o"), 8) > _FILE_MODE_MAX:
        raise invalid_property(name, mode, "An octal file mode is expected, such as 0770.")


def _check_path_form(name: str, value: str) -> None:
    check_text(name, value)
    if value[0] in "/\\" or _DRIVE.match(value):
        raise invalid_property(name, value, "The path must be relative.")


def _lowest_level(path: str, level: int) -> int:
    """The lowest level a path reaches, started at ``level``; ``**`` and variables may be empty."""
    lowest = level
    for segment in _SEPARATORS.split(path):
        if segment == "..":
            level -= 1
            lowest = min(lowest, level)
        elif segment not in ("", ".", "**") and not _VARIABLE.search(segment):
            level += 1
    return lowest
