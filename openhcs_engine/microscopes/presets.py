"""File-name patterns of instruments whose exports hold nothing but images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


def _preset(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII | re.VERBOSE)


PRESETS: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        # Gen5 of Cytation and Lionheart: B7_01_1_3_DAPI_001.tif, A1ROI2_01_4_1Z0_Confocal CY5_001.tif. Region of
        # interest, read step, channel, field, z from 0, name, time point. Steps below 0 (A1_-1_1_1_Stitched[GFP
        # 469,525]_001.tif) are what Gen5 computed from the planes.
        "cytation": _preset(
            r"""(?P<well>[A-Z]{1,2}[0-9]{1,2})(?:ROI(?P<region>[0-9]{1,4}))?_(?P<acquisition>[0-9]{1,3})
            _(?P<channel>[0-9]{1,3})_(?P<site>[0-9]{1,5})(?:Z(?P<z>[0-9]{1,5}))?_(?P<channel_name>.+)
            _(?P<timepoint>[0-9]{3,6})\.(?i:tiff?)"""
        ),
        # Cellomics ArrayScan, CellInsight: AS_09125_050118150001_A03f00d0.tif, MFGTMP_150406100001_A01f00d0.TIF. Field
        # and channel count from 0; o instead of d marks overlays.
        "arrayscan": _preset(
            r"""(?:(?P<plate>.*)_)?(?P<well>[A-Z]{1,2}[0-9]{2})f(?P<site>[0-9]{1,5})d(?P<channel>[0-9]{1,3})
            \.(?i:tiff?|png)"""
        ),
        # Yokogawa CV7000, CV8000: <plate>_B03_T0001F001L01A01Z01C01.tif. Time, field, time line, action, z, channel.
        "cellvoyager": _preset(
            r"""(?:(?P<plate>.*)_)?(?P<well>[A-Z]{1,2}[0-9]{2})_T(?P<timepoint>[0-9]{4,6})F(?P<site>[0-9]{3,5})
            L[0-9]{2,4}A[0-9]{2,4}Z(?P<z>[0-9]{2,5})C(?P<channel>[0-9]{2,4})\.(?i:tiff?|png)"""
        ),
        # The plates of the Broad Bioimage Benchmark Collection: Channel1-01-A-01.tif. Channel, running number, well.
        "channel_row_column": _preset(
            r"""Channel(?P<channel>[0-9]{1,3})-[0-9]{1,5}-(?P<row>[A-Z]{1,2})-(?P<column>[0-9]{1,2})\.(?i:tiff?|png)"""
        ),
        # IN Cell Analyzer, and IN Carta, to which MetaXpress exports: A - 01(fld 1 wv DAPI - DAPI).tif, B - 3(fld 02 wv
        # Green - dsRed z 3).tif, (fld 1 wv Blue - FITC - time 01 - 0 ms), (fld 1 wv TL-Brightfield - Cy3 wix 2).
        "incell": _preset(
            r"""(?:(?P<plate>.*)_)?(?P<row>[A-Z]{1,2})[ ]-[ ](?P<column>[0-9]{1,3})\(fld[ ](?P<site>[0-9]{1,5})[ ]wv[ ]
            (?P<channel>.+?)(?:[ ]wix[ ][0-9]{1,3}|[ ]z[ ](?P<z>[0-9]{1,5})
            |(?:[ ]-)?[ ]time[ ](?P<timepoint>[0-9]{1,6})(?:[ ]-[ ][0-9]{1,12}[ ]ms)?)*\)\.(?i:tiff?)"""
        ),
        # Gen5 before: B2_1_Bright Field_1_001_02.tif, A1_1Z0_DAPI_1_001_.tif. Field, z from 0, name, channel, time
        # point, read step, which is below 0 for what was computed.
        "cytation_old": _preset(
            r"""(?P<well>[A-Z]{1,2}[0-9]{1,2})_(?P<site>[0-9]{1,5})(?:Z(?P<z>[0-9]{1,5}))?_(?P<channel_name>[^0-9_].*)
            _(?P<channel>[0-9]{1,3})_(?P<timepoint>[0-9]{3,6})_(?P<acquisition>[0-9]{1,3})?\.(?i:tiff?)"""
        ),
    }
)
"""Name → pattern of a whole file name."""

COMPUTED: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        # Stitched, projected and deconvolved images: read steps below 0.
        "cytation": _preset(
            r"[A-Z]{1,2}[0-9]{1,2}(?:ROI[0-9]+)?_-[0-9]{1,3}_[0-9]{1,3}_[0-9]{1,5}(?:Z[0-9]{1,5})?_.+\.(?i:tiff?)"
        ),
        "cytation_old": _preset(r"[A-Z]{1,2}[0-9]{1,2}_[0-9]{1,5}(?:Z[0-9]{1,5})?_.+_-[0-9]{1,3}\.(?i:tiff?)"),
        # Overlays of the objects that were found.
        "arrayscan": _preset(r"(?:.*_)?[A-Z]{1,2}[0-9]{2}f[0-9]{1,5}o[0-9]{1,3}\.(?i:tiff?|png)"),
    }
)
"""Name of a preset → names of what the instrument computed from planes and stored beside them."""
