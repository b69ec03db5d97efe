"""The one build step of the project, for wheels and editable installs alike; all else is in pyproject.toml.

The charts of a plate's report are drawn by Vega-Lite. Its script is no file of the repository: it is taken from
vl-convert-python, which is needed to build and not to run.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from setuptools import Command, setup
from setuptools.command.build import build

SCRIPT = "openhcs_dagster/report/charts/vega.js"
"""Where the report looks for it; its licences lie beside it."""


class BuildCharts(Command):
    """Write Vega, Vega-Lite and vega-embed as one script that sets ``vegaEmbed``.

    It has setuptools' protocol of a sub-command of ``build``: its errors end an editable install, too, where those of a
    changed ``build_py`` would be a warning.
    """

    description = "write the script that draws the report's charts"
    user_options = ()
    editable_mode = False

    def initialize_options(self) -> None:
        """Ask for nothing."""
        self.build_lib: str | None = None

    def finalize_options(self) -> None:
        """Take the folder of the whole build."""
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self) -> None:
        """Write the script into the wheel; of an editable install, into the sources."""
        import vl_convert

        path = self._path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_credits() + vl_convert.javascript_bundle(), encoding="utf-8")

    def get_source_files(self) -> list[str]:
        """None is in the repository."""
        return []

    def get_outputs(self) -> list[str]:
        """The script in the wheel."""
        return [str(self._path())]

    def get_output_mapping(self) -> dict[str, str]:
        """Nothing is copied from the sources."""
        return {}

    def _path(self) -> Path:
        return Path(SCRIPT) if self.editable_mode else Path(self.build_lib or "build", SCRIPT)


def _credits() -> str:
    import vl_convert as libraries

    vega, lite = libraries.get_vega_version(), libraries.get_vegalite_versions()[-1]
    embed = libraries.get_vega_embed_version()
    return f"/*! Vega {vega}, Vega-Lite {lite}, vega-embed {embed}; licences: vega.LICENSE.txt of openhcs-dagster */\n"


class Build(build):
    """The usual build, and the charts' script."""

    sub_commands: ClassVar = [*build.sub_commands, ("build_charts", None)]


setup(cmdclass={"build": Build, "build_charts": BuildCharts})
