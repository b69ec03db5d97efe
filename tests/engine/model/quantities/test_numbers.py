"""Numbers of tables: one law for plate maps and tables of planes, told by the column as a whole, nothing guessed."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openhcs_engine.model.quantities.numbers import read_numbers, whole_number
from openhcs_engine.model.quantities.units import read_unit, unit_of_title


@dataclass(frozen=True, kw_only=True)
class Column:
    """Cells of one column, and what they are as numbers."""

    name: str
    texts: tuple[str, ...]
    values: tuple[float | None, ...]
    title: str = ""
    unit: str | None = None
    reasons: dict[int, str] = field(default_factory=dict)
    """Part of what is said of a cell that is no number."""


COLUMNS = (
    Column(name="decimal points", texts=("0.5", "10", "1e-6", ".25", "5."), values=(0.5, 10, 1e-6, 0.25, 5)),
    Column(name="decimal commas", texts=("0,5", "20,0", "1,5e-3", "-2,5"), values=(0.5, 20, 1.5e-3, -2.5)),
    Column(name="the true minus sign", texts=("−3", "2e−3"), values=(-3, 2e-3)),
    Column(name="a comma that 0,5 shows to be decimal", texts=("0,5", "1,000", "1.000"), values=(0.5, 1, 1000)),
    Column(name="a point that 0.5 shows to be decimal", texts=("0.5", "1,000", "1.000"), values=(0.5, 1000, 1)),
    Column(name="both in one number", texts=("1.234,5", "1.000", "2,000"), values=(1234.5, 1000, 2)),
    Column(name="thousands twice", texts=("1,000,000", "1.000", "2,000"), values=(1e6, 1, 2000)),
    Column(name="four digits have no thousands", texts=("1000,125", "1,000"), values=(1000.125, 1)),
    Column(name="nothing before thousands", texts=("0.125", "1.125"), values=(0.125, 1.125)),
    Column(name="a power has no thousands", texts=("1.000e-3", "2.000"), values=(1e-3, 2)),
    Column(name="blanks and apostrophes", texts=("1 000", "1'000,5", "2\u202f000\u00a0µM", "1 00"),
           values=(1000, 1000.5, 2000, None), title="Dose (µM)", unit="µM", reasons={3: "is no number"}),
    Column(name="a thousand or one", texts=("1,000", "2.000", "7"), values=(None, None, 7),
           reasons={0: "may be 1000 or 1 (no other cell", 1: "may be 2000 or 2 (no other cell"}),
    Column(name="a column at odds with itself", texts=("0,5", "0.5", "1,000"), values=(0.5, 0.5, None),
           reasons={2: "may be 1000 or 1"}),
    Column(name="limits", texts=("<0.1", "> 10", "≥3", "~2", "1"), values=(None, None, None, None, 1),
           reasons={0: "is a limit", 1: "is a limit", 2: "is a limit", 3: "is a limit"}),
    Column(name="no numbers", texts=("high", "n/a", "1.2.3", "2024-05-01", "10 (see B2)", "nan", "1e999", "3"),
           values=(*(None,) * 7, 3), reasons=dict.fromkeys(range(7), "is no number")),
    Column(name="one unit in many spellings", texts=("500 nM", "0.5 µM", "0,5 uM", "0.5 μM", "0.5 µmol/L", "1 mM"),
           values=(500, 500, 500, 500, 500, 1e6), title="c [nM]", unit="nM"),
    Column(name="the title's unit where a cell has none", texts=("10", "15 µM", "500 nM"), values=(10, 15, 0.5),
           title="Dosis (µM)", unit="µM"),
    Column(name="mass", texts=("1 mg/mL", "1 g/L", "500 ug/ml", "0"), values=(1, 1, 0.5, 0), unit="mg/mL"),
    Column(name="two kinds, and a title", texts=("1 mg/mL", "2 mg/mL", "3"), values=(None, None, 3),
           title="Dose (µM)", unit="µM", reasons={0: "cannot be compared with values in µM"}),
    Column(name="two kinds, the larger part", texts=("5 µM", "7 nM", "3 mg/mL"), values=(5, 0.007, None), unit="µM",
           reasons={2: "cannot be compared with values in µM"}),
    Column(name="two kinds, equally many", texts=("5 µM", "3 mg/mL"), values=(None, None),
           reasons={0: "different units", 1: "different units"}),
    Column(name="a unit beside none", texts=("10", "20", "15 µM"), values=(10, 20, None),
           reasons={2: "cannot be compared with values without a unit"}),
    Column(name="none beside units", texts=("10 µM", "20 µM", "15", "0"), values=(10, 20, None, 0), unit="µM",
           reasons={2: "has no unit, beside values in µM"}),
    Column(name="a unit of its own", texts=("10 h", "2 h"), values=(10, 2), unit="h"),
    Column(name="M is no m", texts=("1 mM", "1 mm"), values=(None, None), reasons={0: "different units"}),
    Column(name="nothing at all", texts=("", ""), values=(None, None)),
)  # fmt: skip


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_a_column_is_read_as_a_whole(column: Column) -> None:
    """Each cell is the number that the column shows it to be, in one unit, or is named with the reason."""
    titled = unit_of_title(column.title)

    read = read_numbers(column.texts, unit=titled and titled.name)

    assert (read.values, read.unit) == (column.values, column.unit)
    assert {place for place, text in enumerate(column.texts) if text} == set(read.problems) | {
        place for place, value in enumerate(read.values) if value is not None
    }
    for place, reason in column.reasons.items():
        assert reason in read.problems[place]


def test_numbers_of_the_file_itself_are_never_in_doubt() -> None:
    """A spreadsheet's number 1.125 is no thousand, whatever the texts beside it mean."""
    assert read_numbers(["1.125", "0,5", "1.125"], exact={0}).values == (1.125, 0.5, 1125)


def test_equal_doses_in_two_units_are_one_number() -> None:
    """Powers of ten are moved in decimals: 500 nM is 0.5 µM to the last digit, as are 300 nM and 0.3 µM."""
    values = read_numbers(["500 nM", "0.5 µM", "300 nM", "0.3 µM", "0.1 mM", "100 µM"], unit="µM").values

    assert values[0::2] == values[1::2]


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([".", ","]))
def test_what_a_program_writes_comes_back(value: float, mark: str) -> None:
    """Python's shortest text of any float is read as that float, with point or comma, where the separator is known."""
    assert read_numbers([repr(value).replace(".", mark)], decimal=mark).values == (value,)


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), ("07", 7), ("1.0", 1), ("1,0", 1), ("1.00", 1), ("1000.0", 1000), ("0.000", 0), ("1.000", None),
     ("1,000", None), ("1.5", None), ("-1", None), ("", None), ("1234567890", None), ("٣", None)],
)  # fmt: skip
def test_whole_numbers(text: str, number: int | None) -> None:
    """As pandas writes them in a column with a gap; ``1.000`` may be a thousand, and is none."""
    assert whole_number(text) == number


@pytest.mark.parametrize(
    ("title", "unit"),
    [("Dosis (µM)", "µM"), ("Dose [nM]", "nM"), ("Dose, µM", "µM"), ("dose_uM", "µM"), ("Conc mg/mL", "mg/mL"),
     ("Dose (% v/v)", "% v/v"), ("Dose", None), ("Dose (final)", None), ("Dose m", None), ("x (μM)", "µM")],
)  # fmt: skip
def test_units_of_titles(title: str, unit: str | None) -> None:
    """In brackets, or as the last word where nothing else can be meant."""
    found = unit_of_title(title)

    assert (found and found.name) == unit


def test_texts_that_are_no_unit() -> None:
    """A remark behind a number makes no unit."""
    assert [read_unit(text) for text in ("see B2", "(µM)", "µM!", "", "-")] == [None] * 5
