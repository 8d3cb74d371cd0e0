"""What a run knows of being an instance of a multi-instance task, and what its processes are told.

An instance's directory gets the common files, the primary's working directory its own; then the
coordination command runs. What that leaves running stays until the instance ends. The primary runs
the command line once the server says that all instances are coordinated; the others wait.
"""

from __future__ import annotations

import contextlib
import os

from lote.agent.layout import Layout

MASTER_PORT = 6000  # REST: AZ_BATCH_MASTER_NODE; no part of ours listens there
LOOPBACK = "127."  # such addresses are of this machine only

COORDINATING, COORDINATED, WORKING = range(3)

_RUN_HERE_NAME = "volatile/run-here"  # tasks run it, and may not write there
_RUN_HERE = """#!/bin/sh
# In place of ssh: all nodes of this pool are on this machine, so the command is run here. Each
# "machine" has a folder for temporary files of its own, as the parts of MPI expect.
while [ "${1#-}" != "$1" ]; do shift; done
TMPDIR="${AZ_BATCH_TASK_DIR:-${TMPDIR:-/tmp}}/tmp-$1"
mkdir -p "$TMPDIR" || exit 1
export TMPDIR
shift
exec /bin/sh -c "$*"
"""


class Role:
    """Which instance a run is, where the others are, and how far it has come."""

    __slots__ = ("hosts", "number", "stage")

    def __init__(self, number: int, hosts: list[tuple[str, int]]) -> None:
        self.number = number
        self.hosts = hosts  # address and cores of each node, by the number of its instance
        self.stage = COORDINATING

    @property
    def is_primary(self) -> bool:
        """Whether it is the one that runs the command line."""
        return self.number == 0

    @property
    def is_on_one_machine(self) -> bool:
        """Whether all its nodes are on this machine."""
        return all(address.startswith(LOOPBACK) for address, _ in self.hosts)

    def variables(self, directory: str) -> list[tuple[str, str]]:
        """The service's variables for its processes (REST: environment variables of tasks)."""
        addresses = [address for address, _ in self.hosts]
        nodes = " ".join(f"{address} {cores}" for address, cores in self.hosts)
        return [
            ("AZ_BATCH_HOST_LIST", ",".join(addresses)),
            ("AZ_BATCH_NODE_LIST", ";".join(addresses)),
            ("AZ_BATCH_MASTER_NODE", f"{addresses[0]}:{MASTER_PORT}"),
            ("AZ_BATCH_IS_CURRENT_NODE_MASTER", "true" if self.is_primary else "false"),
            ("AZ_BATCH_TASK_SHARED_DIR", directory),
            ("CCP_NODES", f"{len(addresses)} {nodes}"),
            # Ours: nodes that share a machine can't learn it from the machine.
            ("LOTE_NODE_ADDRESS", addresses[self.number]),
        ]


def remote_shell_variables(layout: Layout, role: Role) -> list[tuple[str, str]]:
    """What lets Open MPI start its part on other nodes of this machine, where no ssh is set up.

    A task may say otherwise. On nodes that are machines of their own, nothing is said.
    """
    if not role.is_on_one_machine:
        return []
    path = f"{layout.root}/{_RUN_HERE_NAME}"
    if not os.path.exists(path):
        temporary = f"{path}.new"
        with open(temporary, "w", encoding="utf-8") as target:
            target.write(_RUN_HERE)
        os.chmod(temporary, 0o755)
        os.replace(temporary, path)
    return [("OMPI_MCA_plm_rsh_agent", path)]


def set_outputs_aside(directory: str) -> None:
    """Give the outputs of the coordination command names of their own before the command line
    begins; what it left running goes on writing there."""
    for name in ("stdout.txt", "stderr.txt"):
        with contextlib.suppress(OSError):  # then it is numbered, as those of earlier attempts
            os.rename(f"{directory}/{name}", f"{directory}/coordination-{name}")
