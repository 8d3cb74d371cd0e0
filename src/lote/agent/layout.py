"""Where things lie in a node's directory.

``<node_dir>/tasks`` is the root that tasks and clients see. The agent's own files (lock, log,
journal, cache) lie beside it, out of their reach.
"""

from __future__ import annotations

import os

ROOT_FOLDERS = ("applications", "fsmounts", "shared", "startup", "volatile", "workitems")
START_TASK_DIRECTORY = "startup"


class Layout:
    """The paths of one node."""

    def __init__(self, node_dir: str) -> None:
        self.node_dir = os.path.realpath(node_dir)
        self.root = f"{self.node_dir}/tasks"
        self.lock = f"{self.node_dir}/agent.lock"
        self.log = f"{self.node_dir}/agent.log"
        self.journal = f"{self.node_dir}/reports.journal"
        self.retention = f"{self.node_dir}/retention.journal"
        self.cache = f"{self.node_dir}/cache"
        self.trash = f"{self.node_dir}/trash"
        self.containers = f"{self.node_dir}/containers"

    def make(self, shared_owner: tuple[int, int] | None) -> None:
        """Make what is missing; ``shared_owner`` is the uid and gid that may write ``shared``."""
        os.makedirs(self.node_dir, 0o711, exist_ok=True)
        for folder in (self.cache, self.trash):
            os.makedirs(folder, 0o700, exist_ok=True)
        os.makedirs(self.root, 0o755, exist_ok=True)
        for name in ROOT_FOLDERS:
            os.makedirs(f"{self.root}/{name}", 0o755, exist_ok=True)
        shared = f"{self.root}/shared"
        if shared_owner is not None:
            # All tasks may write here, whichever user they run as: like /tmp.
            os.chmod(shared, 0o1777)

    def task_directory(self, job_directory: str, task_id: str) -> str:
        """The directory of a task; refuses (ValueError) what would leave the root."""
        directory = f"{self.root}/{job_directory}/{task_id}"
        if os.path.normpath(directory) != directory or not task_id or "/" in task_id:
            raise ValueError("a task directory outside the root")
        return directory
