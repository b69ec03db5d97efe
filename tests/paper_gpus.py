"""An inventory for tests of what is decided about GPUs, on hosts without one."""

from __future__ import annotations

from dataclasses import dataclass

from openhcs_engine.memory.devices import Device


@dataclass(frozen=True)
class PaperGpus:
    """GPUs that exist on paper only."""

    count: int

    def devices(self) -> tuple[Device, ...]:
        """GPUs with 16 GiB each."""
        return tuple(
            Device(kind="gpu", index=index, name="Paper GPU", uuid=f"GPU-paper-{index}", memory_bytes=2**34)
            for index in range(self.count)
        )

    def why_no_gpu(self) -> str | None:
        """A reason if there is none."""
        return None if self.count else "No GPU: the paper is blank."
