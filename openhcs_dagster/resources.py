"""What assets, sensors and schedules are given. With cli.py the only place that reads the environment."""

import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TypeVar

import dagster as dg
from pydantic import PrivateAttr

from openhcs_dagster.catalogue.catalogue import Catalogue, CatalogueEntry
from openhcs_dagster.failures import as_sentence
from openhcs_dagster.settings import LOCATION, Settings
from openhcs_engine.memory import devices
from openhcs_engine.memory.devices import CPU, GPU, DevicePolicy
from openhcs_engine.model.system_errors import explained_with_file
from openhcs_engine.plan.context import ProcessingContext

Result = TypeVar("Result")


def current_settings() -> Settings:
    """The settings of this process's environment."""
    return Settings.of(os.environ)


class CatalogueResource(dg.ConfigurableResource["CatalogueResource"]):
    """The plates this deployment knows."""

    folder: str

    def open(self) -> Catalogue:
        """The catalogue itself."""
        return Catalogue(Path(self.folder))


class CodeLocation(dg.ConfigurableResource["CodeLocation"]):
    """This code location, as the web server serves it."""

    webserver: str = ""
    """``host:port``; empty: as ``openhcs-dagster ui`` wrote it into ``address_file``."""
    address_file: str = ""

    def reload(self) -> str:
        """Make the web server and the daemon read the catalogue again; return what was done, as a sentence."""
        try:
            address = self._address()
        except OSError as error:
            return f"Nothing was reloaded ({explained_with_file(error)}): press Reload on the Deployment page."
        if not address:
            return (
                "No web server is known here, so nothing was reloaded: press Reload on the Deployment page, or set "
                "OPENHCS_WEBSERVER=host:port."
            )
        host, _, port = address.rpartition(":")
        try:
            self._reload(host, int(port))
        except Exception as error:  # the client has no common base; a failed reload must not hide why it was wanted
            return f"The web server at {address} could not reload the code location ({error}); press Reload in its UI."
        return f"The code location was reloaded through the web server at {address}."

    def _reload(self, host: str, port: int) -> None:
        from dagster_graphql import DagsterGraphQLClient, ReloadRepositoryLocationStatus

        client = DagsterGraphQLClient(host, port_number=port, timeout=60)
        answer = client.reload_repository_location(LOCATION)
        if answer.status is not ReloadRepositoryLocationStatus.SUCCESS:
            raise RuntimeError(answer.message or "no reason given")

    def _address(self) -> str:
        if self.webserver or not self.address_file:
            return self.webserver
        file = Path(self.address_file)
        return file.read_text().strip() if file.is_file() else ""


class DevicePool(dg.ConfigurableResource["DevicePool"]):
    """Lends this host's devices to the wells of a run; a lease holds across processes and ends with its holder."""

    lease_folder: str = ""
    """Folder of the lock files; empty: the engine's own, shared by all that this user runs on this host."""
    cpu_slots: int = 0
    """CPU slots to lend; 0: one a processor."""
    gpu_slots: int = 1
    """Wells that may share a GPU, if its memory suffices for so many."""
    patience_s: float = 24 * 3600.0
    """Seconds a run waits for its first device."""
    _at_end: ExitStack = PrivateAttr(default_factory=ExitStack)

    def closed_with_run(self, work: Generator[Result, None, None]) -> Generator[Result, None, None]:
        """What holds devices of this pool; it is closed when the run ends.

        Dagster leaves a generator where it is if a signal ends the run while something that it yielded is recorded, and
        its devices would stay lent until the garbage collector comes by.
        """
        return self._at_end.enter_context(closing(work))

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Called by Dagster when a run ends, however it does."""
        self._at_end.close()

    def inventory(self) -> devices.Inventory:
        """What this host has, as far as this pool lends it: what plates are compiled for."""
        return devices.HostInventory(cpus=self._cpus())

    def pool(self, policy: DevicePolicy) -> devices.DevicePool:
        """The engine's pool, with what a policy allows."""
        folder = Path(self.lease_folder) if self.lease_folder else devices.default_lease_folder()
        allowed = self._cpus() if policy is DevicePolicy.CPU else self.inventory()
        return devices.DevicePool(allowed, folder, slots=self.gpu_slots)

    @contextmanager
    def lease(
        self,
        contexts: Mapping[str, ProcessingContext],
        policy: DevicePolicy,
        workers: int,
        on_wait: Callable[[str], None] | None = None,
    ) -> Iterator[tuple[devices.Device, ...]]:
        """Hold one device for each well that runs at a time: GPUs where the plan has steps on them, else CPU slots.

        Parameters
        ----------
        contexts
            What will be run.
        policy
            With ``auto``, CPU slots are lent for a plan with steps on GPUs if this host has none.
        workers
            The most devices to hold; 0: all that are free. Never more than there are wells, and at least one.
        on_wait
            Called with who holds the devices if none is free, and again every ten minutes.

        Raises
        ------
        DeviceUnavailableError
            If the host has no device of the kind that is needed, or none came free in time.
        """
        from openhcs_engine.execution.leases import gpus_planned

        pool = self.pool(policy)
        needs_gpus = policy is not DevicePolicy.CPU and bool(gpus_planned(contexts))
        kind = GPU if needs_gpus and (policy is DevicePolicy.GPU_REQUIRED or _count(pool, GPU)) else CPU
        most = workers or _count(pool, kind) * (self.gpu_slots if kind == GPU else 1)
        with ExitStack() as held:
            with as_sentence("leasing devices"):
                lease = pool.lease(max(1, min(most, len(contexts))), kind, self.patience_s, on_wait)
                leased = held.enter_context(lease)
            yield leased

    def _cpus(self) -> devices.CpuInventory:
        return devices.CpuInventory(self.cpu_slots) if self.cpu_slots else devices.CpuInventory()


def host_has_gpus() -> bool:
    """Whether wells could lease a GPU on this host."""
    return any(device.kind == GPU for device in DevicePool().inventory().devices())


def _count(pool: devices.DevicePool, kind: str) -> int:
    return sum(device.kind == kind for device in pool.inventory.devices())


def inherit_search_path(entry: CatalogueEntry) -> None:
    """Let this run's workers find the plate's functions: they get the search path of this process."""
    sys.path[:0] = [folder for folder in entry.search_path if folder not in sys.path]
