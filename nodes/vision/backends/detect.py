"""The node that says which inference devices are here."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from typing import Any

from nodes.vision.backends.opening import devices
from wfe import log, workflow_node


@workflow_node(outputs={"devices": list, "available": list, "system": dict}, cache="never")
def detect_devices() -> dict[str, Any]:
    """List every device of every backend: {backend, device, name, available, reason, details}.

    `available` holds "backend:device" of those that can be used. Never cached: a card can be taken out.
    """
    found = devices()
    for one in found:
        log(f"{one.backend}:{one.device} " + (one.name or "available" if one.available else f"missing: {one.reason}"))
    return {
        "devices": [asdict(one) for one in found],
        "available": [f"{one.backend}:{one.device}" for one in found if one.available],
        "system": {"os": platform.system(), "machine": platform.machine(), "cores": os.cpu_count() or 0},
    }
