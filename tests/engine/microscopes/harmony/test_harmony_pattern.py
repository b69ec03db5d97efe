"""Records of Harmony's index that look like one before: read at once, and as the XML parser reads them."""

from __future__ import annotations

import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openhcs_engine.errors import UnreadablePlateError
from openhcs_engine.microscopes.harmony import index as harmony_index
from openhcs_engine.microscopes.harmony import records as harmony_pattern
from openhcs_engine.microscopes.harmony.index import HarmonyIndex, read_harmony_index
from openhcs_engine.microscopes.harmony.records import RecordPattern
from tests.engine.harmony_exports import CHANNEL, V7, index_text, record

TEXTS = st.sampled_from(["Ok", "", " 7 ", "µm", "&lt;", "<![CDATA[<b>]]>", "a&#10;b", "]]", "1.5E-04", '"', "x" * 3000])
RECORDS = st.builds(
    lambda base, changes, units: {
        f"{name}|mm" if name in units else name: text for name, text in (base | changes).items()
    },
    st.builds(
        record, row=st.integers(1, 20), field=st.integers(0, 3), plane=st.integers(0, 3), timepoint=st.integers(0, 2)
    ),
    st.dictionaries(st.sampled_from(["State", "URL", "ChannelName", "Note", "FieldID", "id"]), TEXTS, max_size=2),
    st.sets(st.sampled_from(["URL", "FieldID", "ChannelName"]), max_size=1),
)
BETWEEN = st.sampled_from(["", "\n  ", "<!-- </Image> -->", "<?pi </Image>?>", "<Other><a/></Other>", "<!--{0}-->"])


def read(text: str | bytes) -> HarmonyIndex:
    """An index from memory."""
    return read_harmony_index(io.BytesIO(text.encode() if isinstance(text, str) else text), "Index.xml")


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One number for each record that the XML parser took apart."""
    found: list[int] = []
    close = harmony_index._Reader.close_image

    def counted(reader: harmony_index._Reader) -> None:
        found.append(1)
        close(reader)

    monkeypatch.setattr(harmony_index._Reader, "close_image", counted)
    return found


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(RECORDS, min_size=1, max_size=8),
    between=BETWEEN,
    encoding=st.sampled_from(["utf-8", "utf-16", "latin-1"]),
    chunk=st.sampled_from([64, 1000, 1 << 18]),
)
def test_patterns_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
    records: list[dict[str, str]],
    between: str,
    encoding: str,
    chunk: int,
) -> None:
    """With patterns and without them, whatever stands in and between the records, however the file is cut."""
    text = index_text(records * 3).replace('encoding="utf-8"', f'encoding="{encoding}"')
    one = text.partition("<Images>")[2].partition("</Image>")[0].replace("--", "") + "</Image>"
    content = text.replace("</Image>", "</Image>" + between.format(one)).encode(encoding)
    monkeypatch.setattr(harmony_index, "_CHUNK", chunk)

    monkeypatch.setattr(harmony_pattern, "MAX_PATTERNS", 0)
    expected = read(content)
    monkeypatch.setattr(harmony_pattern, "MAX_PATTERNS", 8)

    assert read(content) == expected


@pytest.mark.parametrize("prefix", ["", "ns"])
def test_an_index_is_taken_apart_once_for_each_form_of_record(visits: list[int], prefix: str) -> None:
    """Two forms: the records of a plate's two kinds of channels. All others are read at once."""
    bright = {name: text for name, text in CHANNEL.items() if name != "MainEmissionWavelength"}
    forms = [record(channel=1) | CHANNEL, record(channel=2) | bright]

    index = read(index_text([forms[number % 2] | {"FieldID": str(number)} for number in range(1000)], prefix=prefix))

    assert len(index.images) == 1000 and len({image.field for image in index.images}) == 1000
    assert sum(visits) < 8


def test_records_in_comments_are_none(visits: list[int]) -> None:
    """What an operator took out is not read, though it looks like all others."""
    records = index_text([record(field=field) for field in (1, 2, 3, 4, 5)])
    start = records.index("<Image Version", records.index("F3P1") - 60)
    commented = records[:start] + "<!-- </Image>" + records[start:].replace("</Image>", "</Image>-->", 1)

    assert [image.field for image in read(commented).images] == [1, 2, 4, 5]


def test_damage_behind_a_known_record_is_found() -> None:
    """expat sees every byte: an end tag too many is an error behind a thousand sound records, too."""
    text = index_text([record(field=field) for field in range(1, 1001)], namespace=V7)
    cut = text.rindex("<Image ")

    with pytest.raises(UnreadablePlateError, match="mismatched tag"):
        read(text[:cut] + "</Row>" + text[cut:])


@pytest.mark.parametrize(
    "text",
    [
        "<Image><a><b>1</b></a></Image>",
        "<Image><a/></Image>",
        "<Image>1</Image2>",
        "<Image><a>1</a><a>2</a></Image>",
        "x",
    ],
)
def test_what_is_not_plain_makes_no_pattern(text: str) -> None:
    """Nested, empty and repeated elements are the XML parser's."""
    assert RecordPattern.of(text, ("a",), frozenset()) is None


def test_a_long_text_behind_a_known_record_reads_as_in_the_first() -> None:
    """It is cut at the same length, whether the XML parser takes its record apart or a pattern might."""
    paths = ["a" * 10, "b" * 10, "c" * 10, "d" * 2048, "e" * 2049, "f" * 3000]

    images = read(index_text([record(field=field) | {"URL": url} for field, url in enumerate(paths)])).images

    assert [image.url for image in images] == [url[:2048] for url in paths]
