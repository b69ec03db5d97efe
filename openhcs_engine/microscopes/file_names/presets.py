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
            L[0-9]{2,4}A(?P<acquisition>[0-9]{2,4})Z(?P<z>[0-9]{2,5})C(?P<channel>[0-9]{2,4})\.(?i:tiff?|png)"""
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
        # IN Cell 7 with complete names: A_01_f2_c1_xUV_mDAPI_z3_t2.tif. Field, channel, excitation, emission, z, time.
        "incell_long": _preset(
            r"""(?:(?P<plate>.*)_)?(?P<row>[A-Z]{1,2})_(?P<column>[0-9]{1,3})_f(?P<site>[0-9]{1,5})
            _c(?P<channel>[0-9]{1,3})_x(?P<excitation>.+)_m(?P<emission>.+?)(?:_z(?P<z>[0-9]{1,5}))?
            (?:_t(?P<timepoint>[0-9]{1,6}))?\.(?i:tiff?)"""
        ),
        # Incucyte: VID12_A1_1_00d06h00m.tif, VID12_Green_A1_1_2024y03m05d_14h30m.tif. Vessel, image type, well, field,
        # time since the first scan or on the clock.
        "incucyte": _preset(
            r"""(?:(?P<plate>[^_]*VID[0-9]+)_)?(?:(?P<channel>.+)_)?(?P<well>[A-Z]{1,2}[0-9]{1,2})_(?P<site>[0-9]{1,5})
            _(?P<timepoint>[0-9]{1,4}d[0-9]{2}h[0-9]{2}m|[0-9]{4}y[0-9]{2}m[0-9]{2}d_[0-9]{2}h[0-9]{2}m)
            \.(?i:tiff?|png)"""
        ),
        # Olympus ScanR: exp--W00013--P00001--Z00000--T00000--DAPI.tif. W counts wells row by row from 1 and P positions
        # in the well; z and time count from 0. What stands first may be anything, the well's name, too.
        "scanr": _preset(
            r"""(?:.*--)?W(?P<well>[0-9]{1,6})--P(?P<site>[0-9]{1,6})--Z(?P<z>[0-9]{1,6})--T(?P<timepoint>[0-9]{1,6})
            --(?P<channel>.+)\.(?i:tiff?)"""
        ),
        # Leica LAS MATRIX: image--L0000--S00--U00--V01--J08--E00--O00--X00--Y00--T0000--Z00--C00.ome.tif. Column (U),
        # row (V) and field (X, Y) count from 0, as do time, z and channel; each job (J) has channels of its own.
        "leica_matrix": _preset(
            r"""image--L(?P<other_loop>[0-9]{1,6})--S(?P<other_slide>[0-9]{1,4})--U(?P<column>[0-9]{1,4})
            --V(?P<row>[0-9]{1,4})--J(?P<acquisition>[0-9]{1,4})--E(?P<other_e>[0-9]{1,4})--O(?P<other_o>[0-9]{1,4})
            --X(?P<site_column>[0-9]{1,4})--Y(?P<site_row>[0-9]{1,4})--T(?P<timepoint>[0-9]{1,6})--Z(?P<z>[0-9]{1,5})
            --C(?P<channel>[0-9]{1,3})(?:\.ome)?\.(?i:tiff?)"""
        ),
    }
)
"""Name → pattern of a whole file name. Groups ``other_…`` are coordinates that a plate has no axis for."""

COUNTED_FROM_0: Final = frozenset({"leica_matrix"})
"""Presets whose rows and columns count from 0."""

INNER_FOLDERS: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        # slide--S00/chamber--U00--V01/field--X00--Y00: a chamber is a well.
        "leica_matrix": _preset(r"field--X[0-9]+--Y[0-9]+|chamber--U[0-9]+--V[0-9]+"),
    }
)
"""Name of a preset → names of the folders that the instrument makes inside of a plate's."""

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
