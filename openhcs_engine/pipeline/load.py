"""Find a pipeline by ``module:attribute``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from openhcs_engine.errors import PipelineImportError
from openhcs_engine.pipeline.pipeline import Pipeline
from openhcs_engine.pipeline.plate_step import PlateStep
from openhcs_engine.pipeline.settings import configured, is_maker
from openhcs_engine.pipeline.step import FunctionStep


def load_pipeline(
    reference: str,
    search_path: Iterable[str | Path] = (),
    settings: Mapping[str, object] | None = None,
    channels: Sequence[str] = (),
) -> Pipeline:
    """Import the pipeline that ``module:attribute`` names, or make it by the function of that name.

    Parameters
    ----------
    reference
        As in ``my_lab.pipelines:nuclei``.
    search_path
        Folders put in front of Python's search path, where they stay: a pipeline's own imports need them, too.
    settings, channels
        Its parameters, and those of its functions, by name; the plate's channels; see ``configured``.

    Raises
    ------
    PipelineImportError
        If the module cannot be imported, lacks the attribute, or the attribute is no pipeline.
    PipelineError
        If a function of that name fails, or returns no pipeline.
    CompilationError
        If a setting is unknown, missing, or none that it can be.
    """
    module_name, colon, attribute = reference.partition(":")
    if not (module_name and colon and attribute):
        raise PipelineImportError(
            f"{reference!r} does not name a pipeline; write module:attribute, as in my_pipelines:nuclei.",
            reference=reference,
        )
    module = _import(module_name, reference, [str(folder) for folder in search_path])
    value = getattr(module, attribute, None)
    if isinstance(value, list) and value and all(isinstance(step, FunctionStep | PlateStep) for step in value):
        value = value if isinstance(value, Pipeline) else Pipeline(value, name=attribute)
    if value is not None and (isinstance(value, Pipeline) or is_maker(value)):
        made = configured(value, settings or {}, channels)
        assert isinstance(made, Pipeline)
        return made
    pipelines = sorted(name for name, found in vars(module).items() if isinstance(found, Pipeline))
    what = (
        "has no attribute" if not hasattr(module, attribute) else f"has a {type(value).__name__}, no pipeline, called"
    )
    raise PipelineImportError(
        f"Module {module_name!r} {what} {attribute!r} (pipelines there: {', '.join(pipelines) or 'none'}).",
        reference=reference,
    )


def _import(module_name: str, reference: str, folders: list[str]) -> ModuleType:
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]
    importlib.invalidate_caches()
    _refuse_namesake(module_name, reference, folders)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise PipelineImportError(
                f"No module {error.name!r} was found for the pipeline {reference!r}; run from the folder that holds "
                "it, or put that folder on PYTHONPATH.",
                reference=reference,
            ) from error
        raise _failed(reference, error) from error
    except (Exception, SystemExit) as error:  # a user's module may raise anything while it is imported
        raise _failed(reference, error) from error


def _refuse_namesake(module_name: str, reference: str, folders: list[str]) -> None:
    """Two folders with a module of the same name cannot both be imported by one process."""
    top = module_name.partition(".")[0]
    loaded = getattr(sys.modules.get(top), "__file__", None)
    wanted = PathFinder.find_spec(top, folders) if folders else None
    if loaded and wanted and wanted.origin and Path(loaded).resolve() != Path(wanted.origin).resolve():
        raise PipelineImportError(
            f"The pipeline {reference!r} is in {wanted.origin}, but another module {top!r} ({loaded}) was imported "
            "before it; give one of the two another name.",
            reference=reference,
        )


def _failed(reference: str, error: BaseException) -> PipelineImportError:
    return PipelineImportError(
        f"The pipeline {reference!r} cannot be imported: {type(error).__name__}: {error}.", reference=reference
    )
