"""Every knob of the service, with its unit and default. Nothing else reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

HTTP_PORT = 10100
TLS_PORT = 10143
STORAGE_PORT = 10000
STORAGE_TLS_PORT = 10044


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What one `lote serve` runs with.

    Ports: None asks for the remembered one or the default, 0 for any free one.
    """

    folder: Path
    """Data folder: database, keys, certificates, blobs; one server at a time."""
    node_root: Path | None = None
    """Where local nodes keep their directories; default `<folder>/nodes`."""
    host: str = "127.0.0.1"
    """Address all listeners bind to."""
    advertised_url: str | None = None
    """URL by which nodes and tasks reach the service; default: the plain HTTP listener's."""
    http_port: int | None = None
    tls_port: int | None = None
    storage_port: int | None = None
    storage_tls_port: int | None = None
    account: str | None = None
    """Name of the first account; default `lote`."""
    account_key: str | None = None
    """Base64 of its primary key; made at first start when not given."""
    storage_account: str | None = None
    """Name of the built-in storage account; default `<account>storage`."""
    storage_key: str | None = None
    storage_connection_string: str | None = None
    """Link this storage account instead of the built-in one (Azurite, the provider's own)."""
    storage_host_suffix: str | None = None
    """Host names of the storage endpoint end in it: `<account>.blob.<suffix>` or
    `<account>.<suffix>`. `<account>.blob.` with anything behind it always works."""
    allow_blob_public_access: bool = False
    """Let containers be opened to requests without credentials (Set Container ACL)."""
    token_issuers: str | None = None
    """Issuers whose bearer tokens are taken besides the service's own: `ISSUER=JWKS` each,
    a file or an https URL of its keys, with spaces between them."""
    ssl_cert_file: Path | None = None
    """Certificate authorities (PEM) that the service and its agents trust instead of the system's
    when they call storage accounts and issuers by https."""
    ready_file: Path | None = None
    """Written, mode 0600, when every listener answers."""
    leave_nodes: bool = False
    """Let local agents and their tasks live on when the server is stopped."""
    allow_insecure_network: bool = False
    """Bind plain HTTP to an address other than loopback all the same."""
    clock_skew_s: float = 900.0
    """How far a signature's date may be off. REST: shared key, 15 minutes."""
    node_grace_s: float = 60.0
    """How long a node may be out of contact before it is lost and its tasks are requeued."""
    owner_queue_max: int = 2000
    """Operations waiting for the owner thread before the answer is ServerBusy."""
    connections_max: int = 4000
    """Connections of a listener; beyond it those idle for longest are closed."""
    head_bytes_max: int = 64 << 10
    """Size of a request's target and headers together; beyond it the answer is 431."""
    head_s: float = 30.0
    """How long a client may take for the head of a request before it is answered 408."""
    body_stall_s: float = 20.0
    """A body must bring 1 KiB a second over each such time, or it is given up with 408; for blobs a
    quarter of `node_grace_s` if that is less."""
    group_s: float = 0.02
    """How long one transaction goes on taking operations that wait."""
    window_tasks: int = 1000
    """Ready tasks of a job kept in memory; the rest stays in the database."""
    task_uid_base: int = 64000
    """First of the user ids that tasks run under when the service runs as root."""
    kept_file_bytes: int = 1 << 20
    """Up to this size stdout and stderr of a task outlive its node."""
    kept_bytes: int = 1 << 30
    """Beyond this size in all, the kept outputs of the nodes that went first are removed."""
    local_nodes_max: int = 64
    """Nodes of all local pools together; beyond it a resize ends with AccountCoreQuotaReached."""
    pool_quota: int | None = None
    """Pools of the account; beyond it PoolQuotaReached. No limit unless given, as for the next."""
    active_job_and_schedule_quota: int | None = None
    """Jobs and job schedules that are not completed; beyond it ActiveJobAndScheduleQuotaReached."""
    dedicated_core_quota: int | None = None
    """Cores of all dedicated nodes, by their vmSize; beyond it a resize ends with
    AccountCoreQuotaReached."""
    low_priority_core_quota: int | None = None
    """The same for spot nodes, with AccountLowPriorityCoreQuotaReached."""
    scale_interval_min_s: float = 300.0
    """Shortest autoScaleEvaluationInterval that is taken. REST: Enable Auto Scale, 5 minutes."""
    scale_history_s: float = 86_400.0
    """How long the samples that formulas read are kept; one is taken every 30 s."""
    container_command: str | None = None
    """What runs containers, with options of its own, as in `podman --runtime runc`; if it is not
    given, nodes look for `podman` and then for `docker`."""
    container_options: str | None = None
    """Options that every container is made with, before those of its task: `--network host`."""
    local_cores: int | None = None
    """Cores a local node says it has when its vmSize does not tell; default: the machine's."""

    @property
    def nodes_folder(self) -> Path:
        """Where local nodes live."""
        return self.node_root or self.folder / "nodes"


def default_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_DATA_HOME/lote`, else `~/.local/share/lote`."""
    base = environment.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "lote"


def settings_from(environment: Mapping[str, str], **given: object) -> Settings:
    """Settings from flags (those not None), then `LOTE_*` variables, then defaults."""
    values: dict[str, object] = {k: v for k, v in given.items() if v is not None}
    for name, variable in ENVIRONMENT.items():
        if name not in values and environment.get(variable):
            values[name] = environment[variable]
    values.setdefault("folder", default_folder(environment))
    return msgspec.convert(
        values, Settings, strict=False, dec_hook=lambda kind, value: kind(str(value))
    )


ENVIRONMENT = {
    "folder": "LOTE_DATA",
    "node_root": "LOTE_NODE_ROOT",
    "account": "LOTE_ACCOUNT",
    "account_key": "LOTE_ACCOUNT_KEY",
    "storage_account": "LOTE_STORAGE_ACCOUNT",
    "storage_key": "LOTE_STORAGE_KEY",
    "storage_connection_string": "LOTE_STORAGE_CONNECTION_STRING",
    "storage_host_suffix": "LOTE_STORAGE_HOST_SUFFIX",
    "allow_blob_public_access": "LOTE_ALLOW_BLOB_PUBLIC_ACCESS",
    "token_issuers": "LOTE_TOKEN_ISSUERS",
    "ssl_cert_file": "SSL_CERT_FILE",
    "node_grace_s": "LOTE_NODE_GRACE_S",
    "advertised_url": "LOTE_ADVERTISED_URL",
    "owner_queue_max": "LOTE_OWNER_QUEUE_MAX",
    "connections_max": "LOTE_CONNECTIONS_MAX",
    "head_bytes_max": "LOTE_HEAD_BYTES_MAX",
    "head_s": "LOTE_HEAD_S",
    "body_stall_s": "LOTE_BODY_STALL_S",
    "local_nodes_max": "LOTE_LOCAL_NODES_MAX",
    "pool_quota": "LOTE_POOL_QUOTA",
    "active_job_and_schedule_quota": "LOTE_ACTIVE_JOB_AND_SCHEDULE_QUOTA",
    "dedicated_core_quota": "LOTE_DEDICATED_CORE_QUOTA",
    "low_priority_core_quota": "LOTE_LOW_PRIORITY_CORE_QUOTA",
    "scale_interval_min_s": "LOTE_SCALE_INTERVAL_MIN_S",
    "scale_history_s": "LOTE_SCALE_HISTORY_S",
    "container_command": "LOTE_CONTAINER_COMMAND",
    "container_options": "LOTE_CONTAINER_OPTIONS",
}
"""Settings that an environment variable can give."""
