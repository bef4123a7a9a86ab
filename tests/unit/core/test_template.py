"""Bodies with placeholders: what is read, what is refused, and with which words."""

import pytest

from smsd.core import segment
from smsd.core.fields import FieldError
from smsd.core.placeholder import MOST
from smsd.core.template import Template


def refusal(body: str) -> str:
    with pytest.raises(FieldError) as refused:
        Template(body)
    assert refused.value.field == "message"
    return str(refused.value)


def render(body: str, **values: str) -> str:
    return Template(body).bind(list(values)).render(list(values.values()))


def test_the_fields_of_a_body_are_known_before_anybody_gets_it() -> None:
    template = Template('{{ b }} {{ a | default: "x" }} {{ b | default: "y" }} {{ c|upcase }}')
    assert template.columns == ("b", "a", "c")
    assert template.required == ("b", "c")


def test_a_body_without_placeholders_is_what_it_is() -> None:
    body = "20% off until Sunday :)"
    assert Template(body).columns == ()
    assert Template(body).bind([]).render([]) == body
    assert Template(body).bind([]).segments([]) == segment.count(body)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("Hi {{ a }}!", "Hi ann lee!"),
        ("Hi {{a}}!", "Hi ann lee!"),
        ("{{ a | upcase }}", "ANN LEE"),
        ("{{ a | capitalize }}", "Ann lee"),
        ("{{ a | truncate: 6 }}", "ann..."),
        ("{{ a | truncate: 7 }}", "ann lee"),
        ("{{ a | upcase | truncate: 5 }}", "AN..."),
        ('{{ none | default: "there" }}', "there"),
        ("{{ none | default: 'there' | upcase }}", "THERE"),
        ('{{ none | upcase | default: "there" }}', "there"),
        ('{{ none | default: "" }}.', "."),
        ('{{ a | default: "there" }}', "ann lee"),
        ('{{ "[name] {x} {{" }}', "[name] {x} {{"),
        ("{{\na\n|\nupcase\n}}", "ANN LEE"),
        ("{{ नाम }} {{ имя }}", "Asha Аня"),
        ("{{ A }}{{ _a }}", "ann leeann lee"),
        ("{{ Prénom }} {{ first-name }} {{ First_Name }}", "Zoé Ann Ann"),
        ("50%% {{ a }} %s", "50%% ann lee %s"),
        ("{{ a }}{{ a }}", "ann leeann lee"),
    ],
)
def test_placeholders_are_filled_in(body: str, text: str) -> None:
    values = {"a": "ann lee", "none": "", "prenom": "Zoé", "first_name": "Ann"}
    assert render(body, **values, नाम="Asha", имя="Аня") == text


@pytest.mark.parametrize(
    ("body", "shown", "at", "meant"),
    [
        ("Hi {first_name},", "{first_name}", 4, "first_name"),
        ("Hi {First Name}", "{First Name}", 4, "first_name"),
        ("Hi ${name}", "${name}", 4, "name"),
        ("{name | default: 'x'}", "{name | default: 'x'}", 1, "name"),
        ("Hi ((name))", "((name))", 4, "name"),
        ("((first name))", "((first name))", 1, "first_name"),
        ("((name??you))", "((name??you))", 1, "name"),
        ("Hi %name%!", "%name%", 4, "name"),
        ("%%FIRST_NAME%%", "%%FIRST_NAME%%", 1, "first_name"),
        ("https://x.example/?n=%name%", "%name%", 22, "name"),
        ("Hi [name]", "[name]", 4, "name"),
        ("[First Name]", "[First Name]", 1, "first_name"),
        ("[[city]]", "[[city]]", 1, "city"),
        ("Hi *|FNAME|*", "*|FNAME|*", 4, "fname"),
        ("Hi %(name)s", "%(name)s", 4, "name"),
        ("{user.first_name}", "{user.first_name}", 1, "first_name"),
        ("{#var#}", "{#var#}", 1, "var"),
        ("<first_name>", "<first_name>", 1, "first_name"),
        ("Hi $first_name", "$first_name", 4, "first_name"),
        ("Hi {{name}", "{{name}", 4, "name"),
        ("Hi {{ name", "{{ name", 4, "name"),
        ("Hi {name}}", "{name}}", 4, "name"),
        ("Hi { name }}", "{ name }}", 4, "name"),
        ("{{{name}}}", "{{{name}}", 1, "name"),
        ("{% name %}", "{% name %}", 1, "name"),
        ("{{ first name }}", "{{ first name }}", 1, "first_name"),
        ("{{ user.first_name }}", "{{ user.first_name }}", 1, "first_name"),
        ('{{ user["name"] }}', '{{ user["name"] }}', 1, "name"),
        ("{{ 1 }}", "{{ 1 }}", 1, "column_1"),
        ("{{- name }}", "{{- name }}", 1, "name"),
        ("{{ name -}}", "{{ name -}}", 1, "name"),
        ("{{ name-}}", "{{ name-}}", 1, "name"),
        ("{{ name | upcase -}}", "{{ name | upcase -}}", 1, "name"),
        ("{{ a }} {b}", "{b}", 9, "b"),
    ],
)
def test_what_looks_like_a_placeholder_is_refused_with_what_was_meant(
    body: str, shown: str, at: int, meant: str
) -> None:
    answer = refusal(body)
    assert answer.startswith(f"has {shown} at character {at}, ")
    assert f"Did you mean {{{{ {meant} }}}}?" in answer


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{% if a %}x{% endif %}", "is a tag"),
        ("{%", "is a tag"),
        ("{{ a", "must be the name of a field"),
        ("{{ a | upcase", "is not closed by }}"),
        ("{{}}", "names no field"),
        ("{{ a💥b }}", "must be the name of a field"),
        ("{{ _ }}", "must be the name of a field"),
        ("a }} b", "closes nothing"),
        ("{{ nil }}", "is no field"),
        ("{{ a | lower }}", "no known filter called lower; known are capitalize, default,"),
        ("{{ a | }}", "no known filter; known are"),
        ("{{ a || upcase }}", "no known filter; known are"),
        ("{{ a | upcase: 3 }}", "not understood behind its filter"),
        ("{{ a | default }}", "a string in straight quotes"),
        ("{{ a | default: b }}", "a string in straight quotes"),
        ("{{ a | default: \u201cthere\u201d }}", "a string in straight quotes"),
        ('{{ a | default: "x", "y" }}', "not understood behind its filter"),
        ('{{ a | default: "}}" }}', "braces in quotes"),
        ('{{ a | default: "a\nb" }}', "printable characters in quotes"),
        ('{{ a | default: "\ud83d" }}', "printable characters in quotes"),
        (f'{{{{ a | default: "{"x" * 256}" }}}}', "at most 255 printable characters"),
        ("{{ a | truncate }}", "a number from 4 to 255"),
        ("{{ a | truncate: 3 }}", "a number from 4 to 255"),
        ("{{ a | truncate: -9 }}", "a number from 4 to 255"),
        ("{{ a | truncate: 9.5 }}", "a number from 4 to 255"),
        (f"{{{{ a | truncate: {'9' * 5000} }}}}", "a number from 4 to 255"),
        ('{{ a | truncate: "9" }}', "a number from 4 to 255"),
        ('{{ "a" | upcase }}', "more than a string in quotes"),
        ("{{ a }}" * (MOST + 1), "more than 50 placeholders"),
    ],
)
def test_what_is_not_understood_is_refused(body: str, why: str) -> None:
    assert why in refusal(body)


@pytest.mark.parametrize(
    "body",
    [
        "100% off, 50%off%, 5 % of 7%",
        "[ ] [Acme] Your order [1] is here [!]",
        "{ } {} {1} {;} :{ :} {.x",
        "(( )) )) (( (1) ((:",
        "$5 off, US$amount",
        "<3 <- a < b > c",
        "https://x.example/caf%C3%A9t%C3%A9/%20name%20b?x=[a]",
        "it's 20%; then 30%",
        "a | b",
        "%} #}",
    ],
)
def test_what_people_write_in_messages_goes_through(body: str) -> None:
    assert render(body) == body


@pytest.mark.parametrize("shown", ["[city]", "<City>", "$city", "[ City ]"])
def test_a_column_of_the_audience_decides_what_may_be_meant_as_it_is(shown: str) -> None:
    template = Template(f"{{{{ a }}}} in {shown}")
    template.refuse_columns(["a", "town"])
    with pytest.raises(FieldError, match=r"at character 12, .* Did you mean {{ city }}\?"):
        template.refuse_columns(["a", "city"])
    Template('in {{ "[city]" }}').refuse_columns(["city"])


def test_what_is_refused_can_be_sent_as_the_answer_proposes() -> None:
    answer = refusal("Write {name} here")
    proposed = answer.partition("To send it as it is, write ")[2]
    assert render(f"Write {proposed} here") == "Write {name} here"


def test_a_refusal_is_short_and_printable() -> None:
    assert len(refusal("{{ " + "x y" * 10_000)) < 400
    assert refusal("{{ \x1b[2J }}").isprintable()
    assert refusal("{\u202ename}" + "{{").isprintable()


def test_a_column_that_rows_have_not_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="city"):
        Template("{{ a }} {{ city }}").bind(["a"])


@pytest.mark.parametrize("value", ["\n", "a\tb", "\x00", "\x1b", "a\u2028b", "\ud83d", "x" * 256])
def test_a_value_that_cannot_be_sent_is_refused_by_its_column(value: str) -> None:
    bound = Template('{{ a }} {{ b | default: "x" | truncate: 4 }}').bind(["c", "b", "a"])
    for make in (bound.render, bound.segments):
        with pytest.raises(FieldError) as refused:
            make(["\n", value, "ann"])  # the first is a column that it does not use
        assert refused.value.field == "b"


@pytest.mark.parametrize("value", ["x" * 255, "👩\u200d🚀", "a\xa0b", "\u0938\u094d"])
def test_a_value_may_be_what_people_write(value: str) -> None:
    assert render("{{ a }}{{ b }}", a=value, b="x" * 255) == value + "x" * 255


def test_a_missing_value_is_refused_by_its_column() -> None:
    bound = Template('{{ a }}{{ b | default: "x" }}').bind(["a", "b"])
    assert bound.render(["1", ""]) == "1x"
    for make in (bound.render, bound.segments):
        with pytest.raises(FieldError, match="is empty") as refused:
            make(["", "2"])
        assert refused.value.field == "a"


def test_characters_are_replaced_in_literals_values_and_defaults() -> None:
    template = Template('\u201cHi\u201d {{ a }}{{ b | default: "\u2026" }}')
    bound = template.bind(["a", "b"], transliterating=True)
    assert bound.render(["O\u2019Neil", ""]) == '"Hi" O\'Neil...'
    assert bound.segments(["O\u2019Neil", ""]) == segment.count('"Hi" O\'Neil...')
