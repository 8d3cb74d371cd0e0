"""Composes the service: listeners, owner thread, engines, storage, and the ready file."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import uvicorn

from lote.blobs.accounts import StorageAccount
from lote.blobs.sas import account_sas
from lote.engines.agent_process import AGENT_ENVIRONMENT
from lote.engines.local import LocalEngine
from lote.engines.seam import Engine
from lote.listener import (
    BACKLOG,
    Bounds,
    QuietServer,
    bounded,
    calm_collector,
    fit_file_limit,
    listen,
)
from lote.server.bearer import Bearer
from lote.server.certificate import Certificates, make_certificates
from lote.server.channel import Callers
from lote.server.desk import EngineDesk
from lote.server.folder import AccountFile, DataFolder, Ports, write_private
from lote.server.formulas import FormulaDesk
from lote.server.http import Service
from lote.server.kept import KeptFiles
from lote.server.load import load_memory
from lote.server.logs import set_up_logs
from lote.server.owner import Owner, Tx
from lote.server.settle import settle, take_alarms
from lote.server.streams import Streams
from lote.server.token_pages import TokenPages
from lote.settings import HTTP_PORT, STORAGE_PORT, STORAGE_TLS_PORT, TLS_PORT, Settings
from lote.storage.launch import StorageFailed, StorageProcess, await_folder
from lote.store.database import open_reader
from lote.store.events import add_event
from lote.tokens.issuer import DevelopmentIssuer, open_issuer
from lote.tokens.task_tokens import open_task_tokens
from lote.tokens.trust import parse_issuers
from lote.tokens.verify import TokenVerifier
from lote.wire.frames import AutoStorage
from lote.world import World

KEEP_ALIVE_S = 75
CHANNEL_BYTES_MAX = 64 << 20
PING_S = 5.0  # a node that hangs is out of contact after twice that, or twice a shorter grace
AUTO_STORAGE_S = 30 * 86_400  # life of the SAS with which agents read the linked account
READY_TOKEN_S = 24 * 3600  # life of the ready file's token, for a first try by hand
READY_AUDIENCES = (
    "https://management.core.windows.net/",
    "https://batch.core.windows.net/",
    "https://storage.azure.com/",
)
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

Ready = dict[str, Any]


def serve(
    settings: Settings,
    *,
    world: World | None = None,
    on_ready: Callable[[Ready, bool], None] = lambda ready, is_new: None,
) -> int:
    """Run the service until SIGINT or SIGTERM; for the main thread. Returns the exit code.

    ``on_ready`` is called once every listener answers, with the ready file's content and whether
    the account was made now. Raises FolderRefused, OSError for a port that is taken.
    """
    set_up_logs()
    folder = DataFolder(settings.folder)
    try:
        folder.check()
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, folder, world or World(), on_ready))
    finally:
        folder.close()
    return 0


class Listeners:
    """The sockets of the two listeners, bound before anything else so that their ports are known.

    Plain HTTP leaves this machine only if that was asked for in words.
    """

    def __init__(self, settings: Settings, remembered: Ports) -> None:
        is_open = settings.host in LOOPBACK or settings.allow_insecure_network
        self.plain_host = settings.host if is_open else "127.0.0.1"
        self.http = bind(self.plain_host, settings.http_port, remembered.http, HTTP_PORT)
        self.tls = bind(settings.host, settings.tls_port, remembered.tls, TLS_PORT)

    @property
    def http_port(self) -> int:
        """Port of the plain listener."""
        return int(self.http.getsockname()[1])

    @property
    def tls_port(self) -> int:
        """Port of the HTTPS listener."""
        return int(self.tls.getsockname()[1])


def bind(host: str, asked: int | None, remembered: int, default: int) -> socket.socket:
    """A listening socket on the port asked for, else the remembered one, else the default.

    Port 0 asks for a free one, and prefers the remembered one.
    """
    choices = [asked] if asked else [remembered, 0] if asked == 0 else [remembered or default]
    error: OSError | None = None
    for port in choices:
        if not port and asked != 0:
            continue
        try:
            return listen(host, port)
        except OSError as failure:
            error = OSError(f"Port {port} of {host} can't be used: {failure.strerror}.")
    raise error or OSError("no port to listen on")


async def _serve(
    settings: Settings,
    folder: DataFolder,
    world: World,
    on_ready: Callable[[Ready, bool], None],
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    account, is_new = folder.account(settings, world)
    remembered = folder.ports()
    listeners = Listeners(settings, remembered)
    names = storage_hosts(account.storage_name, settings.storage_host_suffix)
    certificates = make_certificates(folder.path, settings.host, world, names)
    issuer = development_issuer(settings, folder, listeners, world)
    # Beside the start of the storage process: what it needs takes a while to load.
    token = asyncio.create_task(asyncio.to_thread(issuer.issue, READY_AUDIENCES, READY_TOKEN_S))
    storage = await start_storage(
        settings, folder, account, listeners, certificates, issuer, remembered
    )
    composed = Composed(
        settings, folder, world, account, listeners, storage.linked, certificates, issuer
    )
    servers = [composed.server(None), composed.server(certificates, issuer)]
    try:
        folder.remember(
            Ports(listeners.http_port, listeners.tls_port, storage.ports[0], storage.ports[1])
        )
        await composed.start(loop)
        sockets = (listeners.http, listeners.tls)
        serving = [
            asyncio.create_task(server.serve(sockets=[one]))
            for server, one in zip(servers, sockets, strict=True)
        ]
        for server in servers:
            await server.listening.wait()
        ready = ready_facts(settings, account, listeners, storage, certificates)
        ready["management"] = management_facts(issuer, await token)
        content = msgspec.json.format(msgspec.json.encode(ready), indent=1)
        write_private(folder.ready, content)
        if settings.ready_file is not None:
            write_private(settings.ready_file, content)
        on_ready(ready, is_new)
        calm_collector()
        await stop.wait()
        for server in servers:
            server.should_exit = True
            server.force_exit = True
        await asyncio.gather(*serving, return_exceptions=True)
    finally:
        await asyncio.to_thread(composed.close)
        if storage.process is not None:
            await storage.process.stop()


class Linked(msgspec.Struct):
    """The linked storage account, the process that serves it if it is ours, and its ports."""

    linked: StorageAccount
    ports: tuple[int, int]
    process: StorageProcess | None = None


async def start_storage(
    settings: Settings,
    folder: DataFolder,
    account: AccountFile,
    listeners: Listeners,
    certificates: Certificates,
    issuer: DevelopmentIssuer,
    remembered: Ports,
) -> Linked:
    """The linked storage account: the one given, else the built-in one, started here."""
    if settings.storage_connection_string:
        given = StorageAccount.from_connection_string(settings.storage_connection_string)
        return Linked(given, (remembered.storage, remembered.storage_tls))
    try:
        await await_folder(folder.path / "blobs")
    except StorageFailed as error:
        raise OSError(str(error)) from None
    wanted = []
    for asked, last, default in (
        (settings.storage_port, remembered.storage, STORAGE_PORT),
        (settings.storage_tls_port, remembered.storage_tls, STORAGE_TLS_PORT),
    ):
        probe = bind(listeners.plain_host, asked, last, default)
        wanted.append(int(probe.getsockname()[1]))
        probe.close()
    process = StorageProcess(
        folder.path / "blobs",
        listeners.plain_host,
        (wanted[0], wanted[1]),
        {account.storage_name: account.storage_keys},
        (certificates.certificate, certificates.private_key),
        storage_bounds(settings),
        storage_access(settings, issuer),
    )
    try:
        ports = await process.start()
    except StorageFailed as error:
        raise OSError(str(error)) from None
    endpoint = f"http://{_url_host(listeners.plain_host)}:{ports[0]}/{account.storage_name}"
    linked = StorageAccount(account.storage_name, account.storage_keys[0], endpoint)
    return Linked(linked, ports, process)


def agent_environment(settings: Settings) -> dict[str, str]:
    """What agents are started with; the authorities that this service trusts are theirs too."""
    if settings.ssl_cert_file is None:
        return dict(AGENT_ENVIRONMENT)
    return AGENT_ENVIRONMENT | {"SSL_CERT_FILE": str(settings.ssl_cert_file.absolute())}


def bounds_of(settings: Settings) -> Bounds:
    """What each listener takes from its clients."""
    return Bounds(
        settings.connections_max, settings.head_bytes_max, settings.head_s, settings.body_stall_s
    )


def storage_bounds(settings: Settings) -> Bounds:
    """What the built-in storage takes. A body that stalls is given up within half the nodes' grace
    (it is noticed in twice this time): what a node had begun to send before it was lost must not
    be finished after its task ran elsewhere."""
    bounds = bounds_of(settings)
    return bounds._replace(body_stall_s=min(bounds.body_stall_s, settings.node_grace_s / 4))


def storage_access(settings: Settings, issuer: DevelopmentIssuer) -> dict[str, Any]:
    """What the built-in storage takes besides the account's keys."""
    issuers = [issuer.trusted, *parse_issuers(settings.token_issuers)]
    tenant_url = f"{issuer.authority}/{issuer.application.tenant}"
    return {
        "token_issuers": [msgspec.to_builtins(one) for one in issuers],
        "authorization_uri": f"{tenant_url}/oauth2/authorize",
        "host_suffix": settings.storage_host_suffix or "",
        "allow_blob_public_access": settings.allow_blob_public_access,
    }


def storage_hosts(account: str, suffix: str | None) -> list[str]:
    """Host names by which clients may call the built-in storage account."""
    ends = ["blob.localhost", *([suffix, f"blob.{suffix}"] if suffix else [])]
    return [f"{account}{second}.{end}" for end in ends for second in ("", "-secondary")]


def development_issuer(
    settings: Settings, folder: DataFolder, listeners: Listeners, world: World
) -> DevelopmentIssuer:
    """The folder's own issuer of bearer tokens, reached by the HTTPS listener."""
    authority = f"https://{_url_host(settings.host)}:{listeners.tls_port}"
    return open_issuer(folder.path / "tokens", authority, world, write_private)


class Composed:
    """Everything of the service that is not a listener."""

    def __init__(
        self,
        settings: Settings,
        folder: DataFolder,
        world: World,
        account: AccountFile,
        listeners: Listeners,
        linked: StorageAccount,
        certificates: Certificates,
        issuer: DevelopmentIssuer,
        *,
        engines: Mapping[str, Engine] | None = None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._linked = linked
        self._world = world
        plain = f"http://{_url_host(listeners.plain_host)}:{listeners.http_port}"
        self.url = (settings.advertised_url or plain).rstrip("/")
        self._bounds = fit_file_limit(bounds_of(settings))
        self.owner = Owner(
            settings, world, folder.database, load=load_memory, settle=settle, alarm=take_alarms
        )
        self._engines = engines or {"local": self._local_engine()}
        kept = KeptFiles(folder.path / "kept", settings.kept_file_bytes, settings.kept_bytes)
        self.desk = EngineDesk(self._engines, self.owner, kept)
        self.owner.memory.kept = kept
        self.owner.memory.desk = self.desk
        self.formulas = FormulaDesk(self.owner, world)
        self.owner.memory.evaluator = self.formulas
        self.callers = Callers(self.owner, lambda: (account.name, self.url), self._auto_storage)
        secure_url = f"https://{_url_host(listeners.plain_host)}:{listeners.tls_port}"
        task_tokens = open_task_tokens(folder.path / "tokens", world, write_private)
        self.owner.memory.task_tokens = task_tokens
        self.owner.memory.secure = (f"{secure_url}/", certificates.authority.read_text())
        verifier = TokenVerifier([issuer.trusted, *parse_issuers(settings.token_issuers)], world)
        challenge = f"{issuer.authority}/{issuer.application.tenant}"
        bearer = Bearer(verifier, task_tokens, [secure_url], challenge)
        streams = Streams(self.owner, world)
        self.service = Service(
            settings,
            account,
            self.owner,
            streams,
            self.callers,
            lambda: open_reader(folder.database),
            world,
            bearer,
        )

    def _local_engine(self) -> LocalEngine:
        return LocalEngine(
            self._settings.nodes_folder,
            lambda: self.url,
            self._world,
            grace_s=self._settings.node_grace_s,
            task_uid_base=self._settings.task_uid_base,
            containers=(
                self._settings.container_command or "",
                self._settings.container_options or "",
            ),
            environment=agent_environment(self._settings),
        )

    def _auto_storage(self) -> AutoStorage:
        expires_us = self._world.now_us() + AUTO_STORAGE_S * 1_000_000
        account = self._linked
        sas = account_sas(account.name, account.key, "rl", expires_us)
        return AutoStorage(account.blob_endpoint, sas)

    async def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Load the account and let nodes come back."""
        self.owner.start(loop)
        self.desk.resume()
        self.owner.tell(_note_start)

    def server(
        self, certificates: Certificates | None, issuer: DevelopmentIssuer | None = None
    ) -> QuietServer:
        """A listener's server; with certificates it speaks HTTPS, and can hand out tokens."""
        ping_s = min(PING_S, self._settings.node_grace_s)
        config = uvicorn.Config(
            self.service if issuer is None else TokenPages(issuer, self.service),
            http=bounded(self._bounds),
            ws="websockets-sansio",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nobody may say for a client that it came by https
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=2,
            ws_max_size=CHANNEL_BYTES_MAX,
            ws_ping_interval=ping_s,
            ws_ping_timeout=ping_s,
            ws_per_message_deflate=False,
            ssl_certfile=None if certificates is None else str(certificates.certificate),
            ssl_keyfile=None if certificates is None else str(certificates.private_key),
        )
        return QuietServer(config)

    def close(self) -> None:
        """End the nodes (or leave them), then the owner."""
        self.desk.close(leave_nodes=self._settings.leave_nodes)
        self.service.close()
        self.formulas.close()
        self.owner.stop()  # last: only a writer can write the log back when it closes


def management_facts(issuer: DevelopmentIssuer, token: str) -> Ready:
    """How to get bearer tokens, and one to begin with."""
    application = issuer.application
    return {
        "tenant": application.tenant,
        "client_id": application.client_id,
        "client_secret": application.client_secret,
        "authority": issuer.authority,
        "token": token,
    }


def _note_start(tx: Tx) -> None:
    add_event(tx.db, tx.now_us, "service_started", "", "")


def ready_facts(
    settings: Settings,
    account: AccountFile,
    listeners: Listeners,
    storage: Linked,
    certificates: Certificates,
) -> Ready:
    """What the ready file says."""
    host, plain = _url_host(settings.host), _url_host(listeners.plain_host)
    linked = storage.linked
    blob: Ready = {
        "account": linked.name,
        "key": linked.key,
        "blob_endpoint": linked.blob_endpoint,
        "connection_string": linked.connection_string,
    }
    if storage.process is not None:
        blob["key2"] = account.storage_keys[1]
        blob["tls_blob_endpoint"] = f"https://{plain}:{storage.ports[1]}/{linked.name}"
    return {
        "pid": os.getpid(),
        "ca": str(certificates.authority),
        "ca_bundle": str(certificates.bundle),
        "batch": {
            "endpoint": f"http://{plain}:{listeners.http_port}",
            "tls_endpoint": f"https://{host}:{listeners.tls_port}",
            "account": account.name,
            "key": account.keys[0],
            "key2": account.keys[1],
        },
        "storage": blob,
    }


def _url_host(host: str) -> str:
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
