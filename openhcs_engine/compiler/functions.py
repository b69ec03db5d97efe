"""From a declared function to a frozen call that another process can find again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from openhcs_engine.compiler.parameters import (
    check_parameters,
    freeze_parameters,
    function_title,
    given_or_default,
    stamp_files,
)
from openhcs_engine.laws import now, one
from openhcs_engine.memory.artifacts import NOTHING, side_data_of
from openhcs_engine.memory.decorators import FunctionContract, contract_of
from openhcs_engine.memory.libraries import library
from openhcs_engine.memory.types import MemoryType
from openhcs_engine.model.artifacts import DeclaredArtifacts
from openhcs_engine.model.frozen import FrozenMap
from openhcs_engine.pipeline.patterns import DeclaredCall, Refuse, StackFunction, normalise_pattern
from openhcs_engine.pipeline.pipeline import PipelineStep
from openhcs_engine.pipeline.plate_step import PlateStep
from openhcs_engine.plan.context import FunctionCall, UsedFile
from openhcs_engine.plan.function_reference import changed_since_import, reference_of, resolve
from openhcs_engine.uses.follow import Uses, follow, follow_together
from openhcs_engine.uses.packages import package_version


@dataclass(slots=True)
class FunctionTable:
    """Functions by reference, for runs inside this process; grows while a pipeline is compiled."""

    functions: dict[str, StackFunction] = field(default_factory=dict)
    followed: dict[int, Uses] = field(default_factory=dict)
    """What functions use, by their ids."""
    alive: list[StackFunction] = field(default_factory=list)
    """The functions that are followed, which keep their ids as long as they live."""

    def reference(self, function: StackFunction) -> tuple[str, bool]:
        """``module:qualname`` of a named function, and whether another process can import it by that name."""
        base = reference_of(function)
        importable = function.__module__ != "__main__" and "<" not in base and _resolves(base, function)
        reference, copies = base, 1
        while self.functions.get(reference, function) is not function:
            copies += 1
            reference = f"{base}#{copies}"
        self.functions[reference] = function
        return reference, importable and copies == 1

    def follow(self, steps: Sequence[PipelineStep]) -> None:
        """Find what all functions of a pipeline use, CPU twins too; what is wrong with a step is refused elsewhere."""
        patterns = (step.fit if isinstance(step, PlateStep) else step.func for step in steps)
        routes = (route for pattern in patterns for route in normalise_pattern(pattern, lambda _, key: None))
        named = [call.function for route in routes for call in route.calls if _has_name(call.function)]
        twins = [twin for function in named if (twin := contract_of(function).cpu) is not None]
        self.alive += [*named, *twins]
        self.followed |= follow_together(self.alive)

    def uses(self, function: StackFunction) -> Uses:
        """What a function uses."""
        if id(function) not in self.followed:
            self.alive.append(function)
            self.followed[id(function)] = follow(function)
        return self.followed[id(function)]


def freeze_call(call: DeclaredCall, table: FunctionTable, refuse: Refuse) -> FunctionCall | None:
    """Freeze one declared call, and the CPU function that may stand in for it.

    Everything that is wrong is refused: a function without a name, parameters that it does not take or a plan cannot
    hold, a library that is not installed; and the same of its CPU function. As far as it is known what such a call
    would do with its stacks, it is frozen all the same, so that the steps behind it can be judged.
    """
    contract, artifacts = contract_of(call.function), side_data_of(call.function)
    frozen = _freeze(call, contract, artifacts, table, refuse)
    if frozen is None or contract.cpu is None:
        return frozen
    twin = _freeze_twin(call, contract, artifacts, table, refuse)
    return frozen if twin is None else replace(frozen, cpu_twin=twin, importable=frozen.importable and twin.importable)


def _freeze(
    call: DeclaredCall, contract: FunctionContract, artifacts: DeclaredArtifacts, table: FunctionTable, refuse: Refuse
) -> FunctionCall | None:
    function = call.function
    if not _has_name(function):
        name = getattr(function, "__name__", "func")
        refuse(
            f"{function!r} has no name that another process could import; use a function defined with def "
            "(and give parameters as (function, {…}), not as functools.partial).",
            name,
        )
        return None
    reference, importable = table.reference(function)
    uses = table.uses(function)
    _check_kind(function, uses, refuse)
    artifacts = _with_chosen_names(call, artifacts, refuse)
    inputs = tuple(artifacts.input_of(parameter) for parameter in artifacts.inputs if parameter not in call.kwargs)
    check_parameters(call, contract, [each.target for each in inputs], refuse)
    _check_libraries(function, contract, refuse)
    return FunctionCall(
        reference=reference,
        importable=importable,
        source_sha256=uses.sha256,
        source_by_law_1=one.source_sha256(function),
        revision=now.REVISIONS.get(reference, 0),
        uses=FrozenMap.of(uses.used),
        files=(
            *(UsedFile(path=file.path, size=file.size, mtime_ns=file.mtime_ns) for file in uses.files),
            *stamp_files(call, artifacts.files, refuse),
        ),
        unfollowed=uses.unfollowed,
        version=_version(function),
        kwargs=freeze_parameters(call, refuse),
        input_type=str(contract.input_type),
        output_type=str(contract.output_type),
        dtype=contract.dtype,
        collapses=contract.collapses,
        slice_by_slice=contract.slice_by_slice,
        coordinates=contract.coordinates,
        lazy=contract.lazy,
        declared=contract.declared,
        side_outputs=artifacts.outputs,
        side_inputs=inputs,
    )


def _with_chosen_names(call: DeclaredCall, declared: DeclaredArtifacts, refuse: Refuse) -> DeclaredArtifacts:
    """Its artifacts with the names that the parameters choose, or those of a call that chooses none."""
    values = given_or_default(call)
    try:
        return declared.of_call(values)
    except ValueError as error:
        refuse(f"{function_title(call.function)}: {error}", function_title(call.function))
        return NOTHING


def _freeze_twin(
    call: DeclaredCall, contract: FunctionContract, artifacts: DeclaredArtifacts, table: FunctionTable, refuse: Refuse
) -> FunctionCall | None:
    """The call of a function's CPU twin: the same parameters, and the same promises about its result."""
    twin = contract.cpu
    assert twin is not None
    own, name = contract_of(twin), function_title(call.function)
    whose = f"the CPU function {function_title(twin)} of {name}"
    for memory_type in dict.fromkeys((own.input_type, own.output_type)):
        if not library(memory_type).has_cpu:
            refuse(
                f"{whose} speaks {memory_type} arrays, which need a GPU; give a function that runs on the CPU.", name
            )
            return None
    if own.declared and (own.dtype, own.collapses) != (contract.dtype, contract.collapses):
        refuse(
            f"{whose} promises other results (dtype={own.dtype}, collapses={own.collapses}) than it "
            f"(dtype={contract.dtype}, collapses={contract.collapses}); declare both alike.",
            name,
        )
    if own.lazy:
        refuse(
            f"{whose} is declared lazy=True, but it is called with the array that {name} is given; give one that takes "
            "an array.",
            name,
        )
        return None
    if side_data_of(twin) not in (NOTHING, artifacts):
        refuse(
            f"{whose} declares other special inputs or outputs than it; declare both alike, or leave them off the CPU "
            "function.",
            name,
        )
    promised = replace(
        own,
        dtype=contract.dtype,
        collapses=contract.collapses,
        slice_by_slice=contract.slice_by_slice,
        coordinates=contract.coordinates,
        cpu=None,
    )
    # What the function itself does not take, or a plan cannot hold, is refused once.
    wrong: set[str] = set()
    check_parameters(call, contract, artifacts.inputs, lambda _, key: wrong.add(key))
    freeze_parameters(call, lambda _, key: wrong.add(key))
    stamp_files(call, artifacts.files, lambda _, key: wrong.add(key))

    def refuse_twin(message: str, key: str) -> None:
        if key not in wrong:
            refuse(f"{whose} cannot stand in for it: {message}", key)

    return _freeze(DeclaredCall(twin, call.kwargs), promised, artifacts, table, refuse_twin)


def _has_name(function: StackFunction) -> bool:
    """Whether it is called by its module and a name; a partial may have borrowed those of its function."""
    named = getattr(function, "__module__", None) and getattr(function, "__qualname__", None)
    return bool(named) and not isinstance(function, functools.partial)


def _check_libraries(function: StackFunction, contract: FunctionContract, refuse: Refuse) -> None:
    spoken: dict[MemoryType, None] = dict.fromkeys((contract.input_type, contract.output_type))
    for adapter in map(library, spoken):
        if not adapter.installed():
            name = function_title(function)
            refuse(
                f"{name} speaks {adapter.memory_type} arrays, but {adapter.package} is not installed here "
                f"(pip install 'openhcs-dagster[{adapter.extra}]').",
                name,
            )


def _check_kind(function: StackFunction, uses: Uses, refuse: Refuse) -> None:
    """Refuse functions whose call returns no array at all, and those that are no longer what their file says."""
    name = function_title(function)
    generates = inspect.isgeneratorfunction(function)
    if generates or inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        kind = "a generator" if generates else "an async function"
        refuse(f"{name} is {kind}, whose call returns no array; write a plain function that returns the stack.", name)
    if (file := changed_since_import(uses)) is not None:
        refuse(
            f"{name} is not what {file} says now: the file was changed after this process imported it. Start a new "
            "process, or reload the module and declare the pipeline again.",
            name,
        )


def _resolves(reference: str, function: StackFunction) -> bool:
    try:
        return resolve(reference) is function
    except (ImportError, AttributeError):
        return False


def _version(function: StackFunction) -> str:
    return package_version(function.__module__.partition(".")[0])
