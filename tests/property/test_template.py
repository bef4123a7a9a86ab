"""Templates against Liquid, and their segments against those of the text that they make."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from liquid import Environment

from smsd.core import segment
from smsd.core.segment import Fixed, TooLong
from smsd.core.template import Template

liquid = Environment()
truncate = liquid.filters["truncate"]
# Liquid itself (standardfilters.rb) leaves a value of exactly that length as it is; this one cuts.
liquid.filters["truncate"] = lambda value, most: (
    value if len(value) == most else truncate(value, most)
)
quick = settings(deadline=None, max_examples=200)

COLUMNS = ("a", "b", "c")
# Few characters in long runs: that is where boundaries fall inside pairs. 😀 and 🚀 take two units.
runs = st.tuples(st.sampled_from("aaaé[€\\ñяш😀🚀"), st.integers(1, 150))
gsm7_runs = st.tuples(st.sampled_from("aaaé[€~"), st.integers(1, 150))


def of_runs(most: int) -> st.SearchStrategy[str]:
    some = st.one_of(st.lists(runs, max_size=3), st.lists(gsm7_runs, max_size=3))
    return some.map(lambda found: "".join(c * n for c, n in found)[:most])


literals = st.one_of(of_runs(400), st.sampled_from(["", "\n", "a" * 152, "[" * 76, "я" * 66]))
values = st.one_of(
    of_runs(255),
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=40),
    st.sampled_from(["ß", "ŉ", "ǆz", "straße", "İstanbul", "ﬁn", "ΑΣ", " a ", "true", "0", "nil"]),
)
quoted = st.text(st.characters(categories=["L", "Nd"]), max_size=12)
blanks = st.sampled_from(["", " ", "  ", "\n"])
filters = st.one_of(
    st.sampled_from(["upcase", "capitalize"]),
    st.integers(4, 255).map(lambda n: f"truncate: {n}"),
    st.builds('default: "{}"'.format, quoted),
    st.builds("default:'{}'".format, quoted),
)


@st.composite
def placeholders(draw: st.DrawFn) -> str:
    parts = [draw(st.sampled_from(COLUMNS)), *draw(st.lists(filters, max_size=3))]
    between = f"{draw(blanks)}|{draw(blanks)}"
    return f"{{{{{draw(blanks)}{between.join(parts)}{draw(blanks)}}}}}"


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """Literals that hold nothing which could be taken for a placeholder."""
    pieces = draw(st.lists(st.one_of(literals, placeholders()), max_size=6))
    return "".join(pieces)


@quick
@given(bodies(), st.tuples(values, values, values))
def test_a_body_is_filled_in_as_liquid_would(body: str, row: tuple[str, ...]) -> None:
    template = Template(body)
    filled = [one or "x" for one in row]
    made = template.bind(COLUMNS).render(filled)
    assert made == liquid.from_string(body).render(**dict(zip(COLUMNS, filled, strict=True)))


@quick
@given(placeholders(), values)
def test_a_default_stands_for_what_it_does_in_liquid(body: str, value: str) -> None:
    template = Template(body)
    if template.required:
        return
    row = [value] * len(COLUMNS)
    bound = template.bind(COLUMNS)
    assert bound.render(row) == liquid.from_string(body).render(a=value, b=value, c=value)
    assert bound.render([""] * 3) == liquid.from_string(body).render(a="", b="", c="")
    assert bound.render([""] * 3) == liquid.from_string(body).render()


@quick
@given(st.text(st.sampled_from("{}%|-:'\" abc.[]\n59"), max_size=40))
def test_what_is_read_here_is_read_alike_by_liquid(body: str) -> None:
    """Whatever the body: it is refused, or it is Liquid."""
    try:
        template = Template(body)
    except ValueError:
        return
    row = dict.fromkeys(template.columns, "vAlue")
    made = template.bind(template.columns).render(list(row.values()))
    assert made == liquid.from_string(body).render(**row)


@quick
@given(bodies(), st.lists(st.tuples(values, values, values), min_size=1, max_size=3))
def test_segments_are_those_of_the_text(body: str, rows: list[tuple[str, ...]]) -> None:
    bound = Template(body).bind(COLUMNS)
    for row in rows:
        filled = [one or "x" for one in row]
        text = bound.render(filled)
        try:
            expected = segment.count(text)
        except TooLong:
            with pytest.raises(TooLong):
                bound.segments(filled)
        else:
            assert bound.segments(filled) == expected


@quick
@given(literals, of_runs(400), st.integers(0, 400))
def test_what_is_added_anywhere_counts_as_in_its_place(fixed: str, added: str, at: int) -> None:
    found = Fixed(fixed).count_with(added)
    whole = segment.count(fixed[:at] + added + fixed[at:])
    assert found in (None, whole)
    if whole.segments == 1:
        assert found is not None  # no text of one segment is counted twice


@pytest.mark.parametrize("filler", ["a", "я"])
@pytest.mark.parametrize("pair", ["[", "😀"])
def test_at_each_place_around_a_boundary(filler: str, pair: str) -> None:
    """A pair that moves over the ends of the first three segments, in literals and in values."""
    for before in range(60, 480):
        for body in (
            filler * before + "{{ a }}" + pair * 3 + "{{ b }}",
            "{{ b }}" + filler * before + "{{ a }}" + pair,
        ):
            bound = Template(body).bind(COLUMNS)
            for row in ((pair, "x", ""), ("x", pair * 7, ""), (filler * 9, filler * 80, "")):
                assert bound.segments(row) == segment.count(bound.render(row))


@pytest.mark.parametrize(("filler", "pair", "part"), [("a", "[", 153), ("я", "😀", 67)])
def test_what_fills_segments_to_the_last_unit_is_counted_in_its_place(
    filler: str, pair: str, part: int
) -> None:
    for many in (1, 2, 3):
        for units in range(part + 8, part * 4 + 3):
            plain = filler * (units - 2 * many)
            found = Fixed(plain).count_with(pair * many)
            at_ends = [0, part - 2, part - 1, part, 2 * part - 1, 2 * part - 2, len(plain)]
            counts = {segment.count(plain[:at] + pair * many + plain[at:]) for at in at_ends}
            if found is not None:
                assert counts == {found}, "it does not depend on the place"
            if -units % part >= many:
                assert found is not None, "the room left makes up for it"


def test_too_long_is_refused_alike() -> None:
    most = segment.LONGEST
    for filler in ("a" * (most - 1), "[" * (most // 2), "я" * 17_000, "a" * 40_000):
        bound = Template(filler + "{{ a }}").bind(["a"])
        with pytest.raises(TooLong):
            bound.segments(["x" * 200])
    assert Template("a" * (most - 1) + "{{ a }}").bind(["a"]).segments(["x"]).segments == 255
    with pytest.raises(ValueError, match="surrogate"):
        Template("\ud83d{{ a }}").bind(["a"]).segments(["x"])
