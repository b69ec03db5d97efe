"""How a plate shall be read, where the user knows better than detection."""

from __future__ import annotations

from dataclasses import dataclass

from openhcs_engine.errors import OptionError
from openhcs_engine.microscopes.detect import DetectedMicroscope, default_handlers, detect_microscope
from openhcs_engine.microscopes.handler import MicroscopeHandler
from openhcs_engine.microscopes.patterns import pattern_handler


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """One set of options, the same in the command line, the orchestrator and the catalogue of plates."""

    microscope: str | None = None
    """Name of the format; None: found by content."""
    preset: str | None = None
    """Name of a file-name pattern that this version knows."""
    pattern: str | None = None
    """A regular expression of file names with named groups."""
    planes_csv: str | None = None
    """A table of planes."""

    def handlers(self) -> tuple[MicroscopeHandler, ...]:
        """The formats to try.

        Raises
        ------
        OptionError
            If the microscope is unknown; the message lists those that are known.
        NamePatternError
            If a pattern, preset or table cannot be used, or more than one of them is given.
        """
        if self.preset is not None or self.pattern is not None or self.planes_csv is not None:
            if self.microscope is not None:
                raise OptionError(
                    f"microscope={self.microscope!r} does not go with a preset, pattern or table of planes; give one.",
                    option="microscope",
                )
            return (pattern_handler(preset=self.preset, pattern=self.pattern, planes_csv=self.planes_csv),)
        known = default_handlers()
        if self.microscope is None:
            return known
        chosen = tuple(handler for handler in known if handler.name == self.microscope)
        if not chosen:
            names = ", ".join(handler.name for handler in known)
            raise OptionError(f"microscope={self.microscope!r} is unknown (choose from {names}).", option="microscope")
        return chosen

    def detect(self, folder: str) -> DetectedMicroscope:
        """List a folder and find its plate under these options; see ``detect_microscope``."""
        return detect_microscope(folder, self.handlers())
