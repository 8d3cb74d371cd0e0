"""Account-wide operations: supported images, node counts, applications."""

from __future__ import annotations

from typing import Any

import msgspec

from lote.server.handlers.pool import node_counts
from lote.server.pages import answer_list, filter_of, paged
from lote.server.request import Answer, Request
from lote.store.database import Connection
from lote.store.pools import list_all_pools
from lote.wire.account import PoolNodeCounts
from lote.wire.errors import Refused
from lote.wire.images import SUPPORTED_IMAGES
from lote.wire.odata import evaluate
from lote.wire.spelling import spell


class _Listed(msgspec.Struct):
    id: str
    shown: dict[str, Any]


def list_supported_images(db: Connection, request: Request) -> Answer:
    """The images a pool may name. On local nodes an image is a label."""
    where = filter_of(request)
    listed = []
    for number, image in enumerate(SUPPORTED_IMAGES):
        shown = msgspec.to_builtins(image)
        if where is None or evaluate(where, shown.get):
            listed.append(_Listed(f"{number:04d}", shown))
    page, next_id = paged(request, listed)
    return answer_list(request, [item.shown for item in page], next_id)


def list_node_agent_skus(db: Connection, request: Request) -> Answer:
    """The images by node agent, as api-versions before 2019-06-01 list them."""
    where = filter_of(request)
    images: dict[str, list[dict[str, Any]]] = {}
    systems: dict[str, str] = {}
    for image in SUPPORTED_IMAGES:
        verified = images.setdefault(image.node_agent_sku_id, [])
        systems[image.node_agent_sku_id] = image.os_type
        if image.verification_type == "verified":
            verified.append(msgspec.to_builtins(image.image_reference))
    listed = [
        _Listed(name, {"id": name, "verifiedImageReferences": images[name], "osType": system})
        for name, system in sorted(systems.items())
        if where is None or evaluate(where, {"osType": system}.get)
    ]
    page, next_id = paged(request, listed)
    return answer_list(request, [item.shown for item in page], next_id)


def list_pool_node_counts(db: Connection, request: Request) -> Answer:
    """Nodes of each pool by state, exact."""
    where = filter_of(request)
    pools = sorted(list_all_pools(db), key=lambda pool: pool.id.lower())
    if where is not None:
        pools = [pool for pool in pools if evaluate(where, {"poolId": pool.id}.get)]
    page, next_id = paged(request, pools)
    shown = [
        {
            "poolId": pool.id,
            "dedicated": node_counts(db, pool, is_dedicated=True),
            "lowPriority": node_counts(db, pool, is_dedicated=False),
        }
        for pool in page
    ]
    version = request.api_version
    return answer_list(request, [spell(one, PoolNodeCounts, version) for one in shown], next_id)


def list_applications(db: Connection, request: Request) -> Answer:
    """The account's applications: none can be made before the management plane is there."""
    return answer_list(request, [])


def get_application(db: Connection, request: Request) -> Answer:
    """One application. Refuses: ApplicationNotFound."""
    raise Refused("ApplicationNotFound")
