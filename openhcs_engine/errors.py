"""What can go wrong, as one tree::

    OpenHCSError
    ├── PlateError            the raw folder or its name
    │   ├── NotAPlateError, SeveralPlatesError, UnreadablePlateError
    │   ├── PlateIdError, UnknownWellError
    │   └── NamePatternError, PlateMapError, VerdictError
    ├── PipelineError         what the user declared
    │   └── PipelineImportError, PipelineMismatchError
    ├── OptionError           an option's value
    ├── CompilationError      everything wrong with a pipeline on a plate, at once (.violations)
    ├── StorageError          stores that hold planes and wells
    │   ├── PlaneReadError, OutputPlaceError, UnsafePathError, NotAnOutputError, ContextFileError, ContextFormatError
    │   ├── StorageKeyError, MissingKeyError, UnknownBackendError, ManifestError, TableError
    │   └── StorageBudgetError
    ├── ArrayError            arrays between functions
    │   ├── PlaneMismatchError, StackShapeError, PixelValueError
    │   └── MemoryConversionError, LibraryUnavailableError
    └── ExecutionError        a step, a worker
        ├── StepError, SideDataError, WorkerDiedError, WellTimeoutError
        └── DeviceUnavailableError, DeviceMemoryError

Messages are sentences to a scientist: what was wrong, what was expected, what to do. Every error carries the object it
speaks of as attributes, and survives pickling.
"""

from __future__ import annotations

from dataclasses import dataclass


class OpenHCSError(Exception):
    """Base of all errors of this project; ``facts`` become attributes."""

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.__dict__.update(facts)

    def __str__(self) -> str:
        # KeyError would show repr(message).
        return str(self.args[0])


class PlateError(OpenHCSError):
    """The raw plate folder, or its name, cannot be used."""


class NotAPlateError(PlateError, ValueError):
    """No microscope's plate was found in the folder."""

    path: str


class SeveralPlatesError(PlateError, ValueError):
    """The folder holds more than one plate; ``plates`` are their folders."""

    path: str
    plates: tuple[str, ...]


class UnreadablePlateError(PlateError, ValueError):
    """The folder is a plate, but its metadata or file names contradict each other."""

    path: str


class PlateIdError(PlateError, ValueError):
    """A plate id that cannot be a folder's and an asset's name."""

    plate_id: str


class UnknownWellError(PlateError, LookupError):
    """A well that is not on the plate, or not a well's name at all."""

    well: str


class NamePatternError(PlateError, ValueError):
    """A preset or pattern that cannot say what the files of a plate are."""

    pattern: str


class PlateMapError(PlateError, ValueError):
    """A table of conditions that cannot be joined to the wells of a plate."""

    path: str


class VerdictError(PlateError, ValueError):
    """A decision about a plate that has no meaning; the message lists everything that is wrong with it."""

    plate: str


class PipelineError(OpenHCSError):
    """What the user declared cannot be used."""


class PipelineImportError(PipelineError, ImportError):
    """``module:attribute`` does not lead to a pipeline."""

    reference: str


class PipelineMismatchError(PipelineError, ValueError):
    """Contexts are executed with a pipeline that did not make them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One reason why a pipeline cannot run on a plate."""

    message: str
    """What is wrong and what would be right, one sentence or two."""
    step: str | None = None
    """Name of the step, if one is to blame."""
    step_number: int | None = None
    """Its position, counted from 1."""
    key: str | None = None
    """The well, channel, keyword or path that is wrong."""

    def __str__(self) -> str:
        place = f'Step {self.step_number} "{self.step}": ' if self.step_number is not None else ""
        return place + self.message


class OptionError(OpenHCSError, ValueError):
    """An option with a value that it cannot have; the message lists the possible ones."""

    option: str


class CompilationError(OpenHCSError, ValueError):
    """A pipeline was refused; ``violations`` lists every reason."""

    violations: tuple[Violation, ...]

    @classmethod
    def of(cls, violations: tuple[Violation, ...]) -> CompilationError:
        """Join all violations into one message."""
        return cls("\n".join(str(violation) for violation in violations), violations=violations)


class StorageError(OpenHCSError):
    """A store that holds planes, wells or contexts failed."""


class PlaneReadError(StorageError, OSError):
    """An image file cannot be read."""

    path: str


class OutputPlaceError(StorageError, OSError):
    """The output cannot be used: inside the raw plate, read-only, full."""

    path: str


class UnsafePathError(StorageError, OSError):
    """A link, or another user's folder, stands where this software writes and deletes."""

    path: str


class NotAnOutputError(StorageError, ValueError):
    """The folder was not written by this engine."""

    path: str


class ContextFileError(StorageError, ValueError):
    """A context document is incomplete, was changed, or is of another format."""


class ContextFormatError(ContextFileError):
    """A context document is of another format: another version of this software wrote it."""

    format: int


class StorageKeyError(StorageError, ValueError):
    """A key that cannot name something in a storage backend."""

    key: str


class MissingKeyError(StorageError, KeyError, FileNotFoundError):
    """Nothing is stored under the key."""

    key: str


class UnknownBackendError(StorageError, LookupError):
    """No storage backend of this name is registered."""

    backend: str


class StorageBudgetError(StorageError, MemoryError):
    """A backend may not hold as many bytes as it was asked to."""

    key: str
    budget: int
    used: int
    asked: int


class ManifestError(StorageError, ValueError):
    """A well's manifest is damaged, or of another format."""

    path: str


class TableError(StorageError, ValueError):
    """A table of a well that cannot be stored, or that does not fit those of other wells."""

    table: str
    well: str
    column: str | None


class ArrayError(OpenHCSError):
    """Arrays do not fit together."""


class PlaneMismatchError(ArrayError, ValueError):
    """A plane has another shape or dtype than its channel on this plate."""

    path: str


class StackShapeError(ArrayError, ValueError):
    """A function returned something that is not a stack of the promised kind."""

    function: str


class PixelValueError(ArrayError, ValueError):
    """Values that have no place in the pixel type they should have, such as NaN in uint16."""


class MemoryConversionError(ArrayError, TypeError):
    """An array cannot become one of another library with the same values, dtype and shape."""

    source: str
    target: str
    reason: str


class LibraryUnavailableError(ArrayError, ImportError):
    """An array library is not installed, or cannot work on this host."""

    library: str


class ExecutionError(OpenHCSError):
    """Running a well failed."""


class StepError(ExecutionError, RuntimeError):
    """A step of a well failed; ``__cause__`` is the original error."""

    well: str
    step: str


class SideDataError(ExecutionError, ValueError):
    """What a function returned or takes beside its stack is not there, or not what it declared."""

    function: str
    name: str


class WorkerDiedError(ExecutionError, RuntimeError):
    """A worker process ended while it held a well."""

    well: str


class WellTimeoutError(ExecutionError, TimeoutError):
    """A well took longer than a run allows."""

    well: str
    limit_s: float


class DeviceUnavailableError(ExecutionError, TimeoutError):
    """No device of the kind exists, or none came free in time."""

    kind: str


class DeviceMemoryError(ExecutionError, MemoryError):
    """A device's memory did not suffice for a function, whatever was tried."""

    device: str
