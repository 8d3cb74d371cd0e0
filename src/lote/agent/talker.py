"""The talker: keeps the channel to the server and connects it with the runs of this node.

It dials, says Hello, obeys frames and sends reports; when the channel breaks it dials again for as
long as it takes, while the tasks work on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import ssl
from collections.abc import Awaitable
from typing import Any, cast

from msgspec import MsgspecError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    WebSocketException,
)
from websockets.frames import CloseCode
from websockets.typing import DataLike

from lote import __version__
from lote.agent.channel_error import ChannelError
from lote.agent.environment import (
    certificate_variables,
    node_variables,
    preparation_variables,
)
from lote.agent.fork import Forked
from lote.agent.job_tasks import JobTask, JobTasks
from lote.agent.journal import Journal
from lote.agent.keeper import Keeper
from lote.agent.layout import Layout
from lote.agent.lease import Lease
from lote.agent.links import Links
from lote.agent.log import Log
from lote.agent.machine import describe_machine
from lote.agent.orders import COORDINATED, ENDED, Note
from lote.agent.outbox import Outbox
from lote.agent.runs import Runs
from lote.agent.settings import AgentSettings
from lote.agent.start_task import StartTask
from lote.agent.streams import Streams
from lote.agent.transfers import Transfers
from lote.agent.users import Users
from lote.agent.vitals import Vitals
from lote.wire.frames import (
    PROTOCOL,
    Ack,
    AgentFrame,
    Amend,
    AwaitRetention,
    Clean,
    Container,
    ContainerPool,
    ContainersReady,
    Failure,
    Held,
    Hello,
    Instance,
    JobFacts,
    Kill,
    KillSpecial,
    Leave,
    Open,
    Proceed,
    RetentionOver,
    Revoke,
    ServerFrame,
    Setup,
    Special,
    decode_server_frames,
    encode_frames,
)
from lote.wire.frames import (
    Runs as RunsFrame,
)
from lote.world import World

# What ends a connection and not the agent.
BROKEN_CHANNEL = (
    OSError, TimeoutError, EOFError, InvalidHandshake, WebSocketException, MsgspecError,
    ChannelError,
)  # fmt: skip
STEADY_S = 1.0  # a connection that lasted so long is worth another at once
GONE_STATUSES = frozenset({401, 403, 410})  # the node is not, or no longer, one of the server's
RETRY_FIRST_S = 0.05
RETRY_MAX_S = 1.0
PING_INTERVAL_S = 5.0  # a connection that is only half there is found out in twice that
DIAL_TIMEOUT_S = 5.0
MESSAGE_MAX_BYTES = 64 * 1024 * 1024

SPAWNERS_END_S = 5.0  # for each to kill what it runs; half of what an engine grants an agent
KILLED_END_S = 2.0

LEFT = "left"  # the node is no longer the server's: nothing of it shall stay
STOPPED = "stopped"  # told by a signal
LOST_SPAWNER = "lost spawner"  # the agent has to begin anew, as after
BROKEN = "broken"  # an error of ours, told on stderr


class LeasedConnection(ClientConnection):
    """A connection whose pongs renew the agent's lease, once the server has said what is wanted."""

    lease: Lease | None = None

    async def ping(self, data: DataLike | None = None) -> Awaitable[float]:
        """Send a ping, as the keep-alive of the connection does; its pong renews the lease."""
        lease = self.lease
        sent_s = lease.clock() if lease is not None else 0.0
        pong: asyncio.Future[float] = cast("asyncio.Future[float]", await super().ping(data))

        def renew(pong: asyncio.Future[float]) -> None:
            if lease is not None and not pong.cancelled() and pong.exception() is None:
                lease.renew(sent_s)

        pong.add_done_callback(renew)
        return pong


class Talker:
    """One life of an agent, from its first dial to the reason of its end."""

    def __init__(
        self, settings: AgentSettings, world: World, layout: Layout, forked: Forked, log: Log
    ) -> None:
        self._settings = settings
        self._world = world
        self._log = log
        self._boot = world.new_guid()
        self._lease = Lease(world.since_boot, settings.grace_s)
        self._outbox = Outbox(world.monotonic, world.since_boot)
        self._journal = Journal(layout.journal, world)
        self._links = Links(forked, self._take_notes, lambda: self._end(LOST_SPAWNER))
        users = self._users = Users(settings.task_uid_base)
        self._transfers = Transfers(layout, settings, world.monotonic, self._lease)
        self._keeper = Keeper(layout, world, log)
        self._runs = Runs(
            layout, self._links, self._outbox, users, self._transfers, log, world.monotonic,
            self._keeper.begin_anew, self._keeper.keep_for, self._after_change,
        )  # fmt: skip
        self._transfers.confirm_again = self._runs.confirm_again
        self._start_task = StartTask(
            layout, self._links, self._outbox, users, self._transfers, log, world.monotonic,
            self._after_change,
        )  # fmt: skip
        self._job_tasks = JobTasks(self._make_job_task)
        self._keeper.in_use = lambda: self._runs.directories() | self._job_tasks.directories()
        self._streams = Streams(settings, layout, log)
        self._vitals = Vitals(layout, self._outbox, log)
        self._layout = layout
        self._over: asyncio.Future[str] | None = None
        self._channel: LeasedConnection | None = None
        self._sender = asyncio.Event()
        self._flush_timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._is_set_up = False
        self._hello_s = 0.0
        self._service: dict[str, str] = {}
        self._start_service: dict[str, str] = {}
        self._certificates: list[str] | None = None
        self._setup: Setup | None = None

    async def talk(self) -> str:
        """Serve until the end; gives its reason: LEFT, STOPPED or LOST_SPAWNER."""
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        loop.set_exception_handler(self._break)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, STOPPED)
        loop.add_signal_handler(signal.SIGCHLD, reap_children)
        for ending in self._journal.load():
            self._outbox.add_ending(ending)
        self._links.listen()
        self._keeper.start()
        duties = [
            asyncio.create_task(self._keep_dialling()),
            asyncio.create_task(self._watch_vitals()),
        ]
        try:
            return await self._wait_for_end(duties)
        finally:
            self._runs.close()
            self._start_task.close()
            self._job_tasks.close()
            if self._channel is not None:
                await self._channel.close(CloseCode.GOING_AWAY)
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
            self._links.close()
            if self._links.containers is not None:
                self._links.containers.close()
            self._transfers.close()
            self._streams.close()
            self._keeper.close()
            self._journal.write(self._outbox.unacknowledged())
            self._log.flush()

    async def _wait_for_end(self, duties: list[asyncio.Task[None]]) -> str:
        """A duty never returns before the end; if one fails, that is a bug of ours."""
        assert self._over is not None
        waited: list[asyncio.Future[Any]] = [self._over, *duties]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        for duty in duties:
            if duty.done() and not duty.cancelled():
                error = duty.exception()
                if error is not None:
                    self._break(
                        asyncio.get_running_loop(),
                        {"message": "a duty failed", "exception": error},
                    )
        return self._over.result()

    def _break(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback or a duty failed: what is in hand can't be trusted any more."""
        loop.default_exception_handler(context)
        error = context.get("exception")
        self._log.event("agent_broken", error=type(error).__name__)
        self._end(BROKEN)

    def _end(self, reason: str) -> None:
        if self._over is not None and not self._over.done():
            self._log.event("agent_ends", reason=reason.replace(" ", "_"))
            self._over.set_result(reason)

    # -- the channel ------------------------------------------------------------------------

    async def _keep_dialling(self) -> None:
        failures = 0
        while True:
            begun_s = self._world.monotonic()
            try:
                async with self._dial() as connection:
                    channel = cast(LeasedConnection, connection)
                    self._log.event("channel_open")
                    begun_s = self._world.monotonic()
                    await self._converse(channel)
            except InvalidStatus as refusal:
                if refusal.response.status_code in GONE_STATUSES:
                    self._end(LEFT)
                    return
            except BROKEN_CHANNEL as error:
                if not failures:
                    self._log.event("channel_broken", error=type(error).__name__)
            self._hang_up()
            if self._world.monotonic() - begun_s > STEADY_S:
                failures = 0
            if self._over is not None and self._over.done():
                return
            if failures:
                jitter = 0.5 + self._world.new_secret(1)[0] / 512
                await asyncio.sleep(min(RETRY_MAX_S, RETRY_FIRST_S * 2**failures) * jitter)
            failures = min(failures + 1, 10)

    def _dial(self) -> connect:
        settings = self._settings
        url = "ws" + settings.server_url.rstrip("/").removeprefix("http") + "/node/channel"
        tls: ssl.SSLContext | None = None
        if url.startswith("wss:"):
            tls = ssl.create_default_context(cafile=settings.ca_file)
        return connect(
            url,
            additional_headers={"Authorization": f"Lote {settings.node_id} {settings.secret}"},
            compression=None,
            max_size=MESSAGE_MAX_BYTES,
            ping_interval=min(PING_INTERVAL_S, self._lease.length_s / 2),
            ping_timeout=PING_INTERVAL_S,
            open_timeout=DIAL_TIMEOUT_S,
            close_timeout=1.0,
            proxy=None,
            ssl=tls,
            create_connection=LeasedConnection,
        )

    async def _converse(self, channel: LeasedConnection) -> None:
        self._is_set_up = False
        self._hello_s = self._lease.clock()
        await channel.send(_message(self._hello()))
        self._channel = channel
        sender = asyncio.create_task(self._send_reports(channel))
        sender.add_done_callback(self._check_sender)
        try:
            async for message in channel:
                if isinstance(message, str):
                    raise ChannelError("a text message on the channel")
                for frame in decode_server_frames(message):
                    self._obey(frame)
                self._after_change()
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    def _check_sender(self, sender: asyncio.Task[None]) -> None:
        """A sender ends with its connection; for any other reason it is a bug of ours."""
        error = None if sender.cancelled() else sender.exception()
        if error is not None and not isinstance(error, ConnectionClosed):
            self._break(sender.get_loop(), {"message": "the sender failed", "exception": error})

    def _hello(self) -> Hello:
        machine = describe_machine()
        held = self._runs.held()
        held.extend(Held(one.key, one.run, 2) for one in self._outbox.unacknowledged())
        return Hello(
            PROTOCOL,
            self._settings.node_id,
            self._boot,
            __version__,
            machine.cores,
            machine.memory_bytes,
            machine.ip_address,
            machine.operating_system,
            held,
        )

    def _hang_up(self) -> None:
        self._channel = None
        self._is_set_up = False
        self._outbox.take_back()
        self._journal.write(self._outbox.unacknowledged())

    # -- frames -----------------------------------------------------------------------------

    def _obey(self, frame: ServerFrame) -> None:
        match frame:
            case RunsFrame(runs):
                self._runs.accept(runs)
            case Instance():
                self._runs.accept_instance(frame)
            case Proceed(names):
                self._runs.proceed(names)
            case Amend(tasks):
                self._runs.amend(tasks)
            case Ack(seq, refused):
                self._acknowledge(seq, {(key, run) for key, run in refused})
            case JobFacts():
                self._runs.set_job(frame)
            case Revoke(runs):
                self._runs.revoke(runs)
            case Kill(runs):
                self._runs.kill(runs)
            case Special():
                job = self._runs.job(frame.job_key)
                self._job_tasks.begin(frame, job, self._job_service(job, frame))
            case KillSpecial(job_key, kind, number):
                self._job_tasks.kill(job_key, kind, number)
            case Open():
                self._streams.answer(frame)
            case Clean(directories):
                self._keeper.clean(directories)
            case AwaitRetention():
                self._keeper.await_empty(self._tell_empty)
            case Setup():
                self._set_up(frame)
            case Leave(reason):
                self._log.event("told_to_leave", reason=reason)
                self._end(LEFT)

    def _tell_empty(self) -> None:
        self._outbox.add_urgent(RetentionOver())
        self._after_change()

    def _job_service(self, job: JobFacts, order: Special) -> dict[str, str]:
        """The service's variables of a special task; a preparation is not told of itself."""
        if not order.kind:
            return self._service
        return self._service | preparation_variables(self._layout, job)

    def _make_job_task(self, order: Special, key: int) -> JobTask:
        return JobTask(
            order, key, self._layout, self._links, self._outbox, self._users, self._transfers,
            self._log, self._world.monotonic, self._keeper.begin_anew, self._keeper.keep_for,
            self._after_change,
        )  # fmt: skip

    def _set_up(self, setup: Setup) -> None:
        if not self._is_set_up:  # only the first after a Hello knows what was held
            wanted = {(key, run) for key, run in setup.confirmed}
            self._runs.keep_only(wanted)
            for ending in self._outbox.unacknowledged():
                if (ending.key, ending.run) not in wanted:
                    self._outbox.forget((ending.key, ending.run))
            self._lease.renew(self._hello_s)
            if self._channel is not None:
                self._channel.lease = self._lease
        self._is_set_up = True
        service = node_variables(
            account_name=setup.account_name,
            account_url=setup.account_url,
            pool_id=setup.pool_id,
            node_id=self._settings.node_id,
            is_dedicated=setup.is_dedicated,
            root=self._layout.root,
        )
        if self._certificates is None:
            self._certificates = setup.certificates  # REST: changed ones are for nodes that boot
        shown = self._certificates
        self._service = service | certificate_variables("task" in shown)
        self._start_service = service | certificate_variables("starttask" in shown)
        self._transfers.auto_storage = setup.auto_storage
        self._transfers.service = self._service
        self._users.set_accounts(setup.accounts)
        self._runs.set_up(setup.slots, self._service, setup.secure)
        self._setup = setup
        if setup.containers is not None:
            self._set_up_containers(setup.containers)
        else:
            self._start_task.set_up(setup, self._start_service)

    def _set_up_containers(self, pool: ContainerPool) -> None:
        """The start task waits for the images."""
        if self._links.containers is None:
            from lote.agent.containers import Containers  # few pools have any

            self._links.containers = Containers(
                self._settings, self._layout, self._log, self._take_contained, self._take_fetched,
                lambda: self._end(LOST_SPAWNER),
            )  # fmt: skip
        self._links.containers.set_up(pool)

    def _take_fetched(self, troubles: list[Failure]) -> None:
        """The node can run containers, or here is why not."""
        if troubles:
            self._vitals.tell("containers", troubles)
        else:
            self._outbox.add_urgent(ContainersReady())
            assert self._setup is not None
            self._start_task.set_up(self._setup, self._start_service)
        self._after_change()

    def _take_contained(self, note: Note, container: Container | None) -> None:
        """What the container crew says of a run."""
        key, run = note[1], note[2]
        if note[0] == ENDED and not key:
            self._start_task.contained(container)
        elif note[0] == ENDED and key < 0:
            self._job_tasks.contained(key, container)
        elif note[0] == ENDED:
            self._runs.contained(key, run, container)
        self._take_notes((note,))

    @property
    def crew_pid(self) -> int | None:
        """The process of the container crew, if there is one."""
        return None if self._links.containers is None else self._links.containers.pid

    def _acknowledge(self, seq: int, refused: set[tuple[int, int]]) -> None:
        batch = self._outbox.acknowledge(seq)
        if batch is None:
            return
        self._lease.renew(batch.sent_s)
        self._journal.acknowledged(self._outbox.unacknowledged())
        self._runs.refused(refused)
        for name in batch.confirms():
            if name not in refused:
                self._runs.confirmed(name)

    # -- reports ----------------------------------------------------------------------------

    def _take_notes(self, notes: tuple[Note, ...]) -> None:
        for note in notes:
            if not note[1]:
                self._start_task.note(note)
            elif note[1] < 0:
                self._job_tasks.note(note)
            elif note[0] == ENDED:
                self._runs.note_ended(note)  # type: ignore[arg-type]
            elif note[0] == COORDINATED:
                self._runs.note_coordinated(note)  # type: ignore[arg-type]
            else:
                self._runs.note_started(note)  # type: ignore[arg-type]
        self._runs.pump()
        self._after_change()

    def _after_change(self) -> None:
        """Something may be worth a report or a line in the log."""
        self._log.flush()
        if not self._is_set_up:
            self._journal.add(self._outbox.unacknowledged())
            return
        delay_s = self._outbox.delay_s(is_idle=self._runs.is_idle)
        if delay_s is None:
            return
        if delay_s == 0.0:
            self._sender.set()
        elif self._flush_timer is None:
            loop = asyncio.get_running_loop()
            self._flush_timer = loop.call_later(delay_s, self._sender.set)

    async def _send_reports(self, channel: ClientConnection) -> None:
        while True:
            await self._sender.wait()
            self._sender.clear()
            if self._flush_timer is not None:
                self._flush_timer.cancel()
                self._flush_timer = None
            if not self._is_set_up:
                continue
            report = self._outbox.next_report()
            if report is not None:
                await channel.send(_message(report))

    async def _watch_vitals(self) -> None:
        while True:  # looks first: an agent on a full disk says so with its first words
            if not self._vitals.node_dir_is_there():
                self._end(LEFT)
            samples = self._vitals.look()
            self._after_change()
            channel = self._channel
            if samples is not None and channel is not None and self._is_set_up:
                with contextlib.suppress(ConnectionClosed):  # samples of a gap are not missed
                    await channel.send(_message(samples))
            await asyncio.sleep(self._vitals.interval_s)


def _message(frame: AgentFrame) -> bytes:
    frames: list[AgentFrame] = [frame]
    return encode_frames(frames)


def reap_children() -> None:
    """Let go of spawners that were sent home, and of what a lost one left to this process."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def wait_for_spawners(pids: list[int], limit_s: float = SPAWNERS_END_S) -> list[int]:
    """Wait until the spawners are gone, and with them all that they ran; gives those killed.

    One that has not ended by itself after ``limit_s`` (it is stopped, or what it ran does not
    die) is killed: what it leaves is the caller's to end.
    """
    left = [pid for pid in pids if not _has_ended(pid, limit_s)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    for pid in left:
        _has_ended(pid, KILLED_END_S)
    return left


def wait_for_crew(pid: int | None, limit_s: float = SPAWNERS_END_S) -> bool:
    """Wait a while for the containers to be gone. False when the crew still works at it: it is
    left to do so, as nobody else would."""
    return pid is None or _has_ended(pid, limit_s)


def _has_ended(pid: int, limit_s: float) -> bool:
    """Whether a child has ended within this time; then it is reaped."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        descriptor = os.pidfd_open(pid)
    except (ChildProcessError, ProcessLookupError):
        return True  # reaped before
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    has_ended = bool(poll.poll(limit_s * 1000))
    os.close(descriptor)
    if has_ended:
        os.waitpid(pid, 0)
    return has_ended
