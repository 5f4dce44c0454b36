"""domain.backends.template: whatever a value is, the file that it is put into says exactly that."""

import json
from contextlib import suppress
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.backends.template import TemplateError, render

yaml: Any = import_module("yaml")
"""Read as agents read it: escapes are a matter of the reader, too."""

ANY_TEXT = st.text(max_size=60)
NASTY = st.sampled_from(
    [
        *(
            '"',
            "'",
            "''",
            "\\",
            '\\"',
            "a: b",
            "a # b",
            "#",
            "- a",
            "[a, b]",
            "{a: b}",
            "${OTHER}",
            "$${OTHER}",
            "$$",
        ),
        *(
            "line\nline",
            "line\r\nline",
            "\ttab",
            " spaces ",
            "",
            "yes",
            "null",
            "1.0",
            "0x10",
            "%",
            "@at",
            "`",
            "!tag",
        ),
        *("&anchor", "*alias", "|", ">", "?", "---", "...", "</script>", "k\u00e4se", "\u65e5\u672c", "\U0001f600"),
        *("\u2028", "\x85", "\ufeff", "\x00", "\x1b[0m", "\x7f", "\x80", "\ufffe", "sk-0123456789abcdef"),
    ]
)
VALUES = NASTY | ANY_TEXT
PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=60)
"""What one line between single quotes can hold."""
PIECES = ("${A}", "$${A}", "${B}", "'", '"', ":", "-", " ", "\n", "#", "|", "{", "}", "[", "]", "a", "\\", ",")
BLOCKS_ARE_NOT_KNOWN = "the text of a block is taken for YAML, so quotes and escapes get into it"
WIDE_OF_THE_ESCAPES = "JSON's \\u escapes are 16 bits wide and leave U+007F bare: YAML readers see other characters"


def filled(template: str, suffix: str, **values: str) -> Any:
    """Fill a template and read it as an agent would."""
    text = render(template, suffix, values)
    return json.loads(text) if suffix == ".json" else yaml.safe_load(text)


def attempted(template: str, **values: str) -> tuple[Any, str]:
    """Return what a YAML reader makes of a filled template, and why it was refused if it was."""
    try:
        return filled(template, ".yaml", **values), ""
    except TemplateError as error:
        return None, str(error)


# -- JSON -------------------------------------------------------------------------------------------------


@given(value=VALUES)
def test_any_value_in_a_string_of_json_is_read_back_as_it_was(value: str) -> None:
    assert filled('{"key": "${KEY}"}', ".json", KEY=value) == {"key": value}


@given(one=VALUES, two=VALUES)
def test_any_values_between_other_text_of_json_are_read_back_as_they_were(one: str, two: str) -> None:
    document = filled('{"a": [{"b": "x \\"${ONE}\\" ${TWO}${ONE} y"}]}', ".json", ONE=one, TWO=two)
    assert document == {"a": [{"b": f'x "{one}" {two}{one} y'}]}


def test_numbers_keys_and_nothing_in_json_stay_what_they_are() -> None:
    text = '{"${KEY}": null, "n": 8900, "f": 0.25, "yes": true, "empty": {}, "list": []}'
    assert filled(text, ".json", KEY="x") == json.loads(text)


def test_a_variable_in_json_outside_a_string_is_refused_as_bad_json() -> None:
    with pytest.raises(TemplateError, match="not valid JSON"):
        render('{"port": ${PORT}}', ".json", {"PORT": "1"})


def test_a_template_that_is_no_json_is_refused_with_the_place_of_the_fault() -> None:
    with pytest.raises(TemplateError, match=r"not valid JSON.*line 2"):
        render('{"a": 1,\n "b": }', ".json", {})


# -- YAML -------------------------------------------------------------------------------------------------


@given(value=VALUES)
@pytest.mark.parametrize("template", ['"${KEY}"', "'${KEY}'", "${KEY}", "|-\n  ${KEY}"])
def test_any_value_in_yaml_is_read_back_as_it_was_however_it_is_quoted(template: str, value: str) -> None:
    assert filled(f"key: {template}\nafter: 1\n", ".yaml", KEY=value) == {"key": value, "after": 1}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("- ${A}\n- ${B}\n", ["a: '\"", "# b"]),
        ('["${A}", "${B}"]', ["a: '\"", "# b"]),
        ("{x: '${A}', y: '${B}'}", {"x": "a: '\"", "y": "# b"}),
        ("x:\n  - y: ${A}   # the first\n", {"x": [{"y": "a: '\""}]}),
        ("x: [\"${A}\", '${B}']", {"x": ["a: '\"", "# b"]}),
        ('x: "it\'s ${B}"', {"x": "it's # b"}),
        ("x: 'say \"${B}\"'", {"x": 'say "# b"'}),
        ('x: "\\"${B}\\""', {"x": '"# b"'}),
        ("x: don't\ny: ${A}", {"x": "don't", "y": "a: '\""}),
        ("x: a#b\ny: ${A}", {"x": "a#b", "y": "a: '\""}),
        ('"x": "${A}${B}"', {"x": "a: '\"# b"}),
    ],
)
def test_variables_may_stand_wherever_yaml_has_a_value(template: str, expected: object) -> None:
    assert filled(template, ".yaml", A="a: '\"", B="# b") == expected


def test_a_value_in_yaml_is_always_a_text_never_a_number_or_a_truth() -> None:
    document = filled("n: ${N}\ny: ${Y}\nnull: ${E}", ".yaml", N="8900", Y="yes", E="")
    assert document == {"n": "8900", "y": "yes", None: ""}


def test_a_template_that_is_no_yaml_is_refused_with_the_place_of_the_fault() -> None:
    with pytest.raises(TemplateError, match="line 2"):
        render('a: 1\nb: "${A}\n', ".yaml", {"A": "x"})


def test_a_variable_may_stand_within_a_bare_value() -> None:
    assert filled("x: http://${A}/v1", ".yaml", A="host: 1 # ") == {"x": "http://host: 1 # /v1"}


@pytest.mark.parametrize("style", ["|", ">+", "|2-", "|  # comment"])
@pytest.mark.parametrize("text", ["${A}", "Name: ${A}", '- "${A}"'])
def test_a_variable_in_a_block_of_yaml_is_put_in_as_it_is(style: str, text: str) -> None:
    document = filled(f"- x: {style}\n\n    {text}\n  y: 1\n", ".yaml", A='O"H\\')
    assert (document[0]["x"].strip(), document[0]["y"]) == (text.replace("${A}", 'O"H\\'), 1)


def test_quotes_in_a_block_of_yaml_are_its_own_business() -> None:
    assert filled("x: |\n  'tis ${\n  - \"\ny: ${A}\n", ".yaml", A="a") == {"x": "'tis ${\n- \"\n", "y": "a"}


@pytest.mark.parametrize(
    ("block", "before"), [("x: |\n  some: text\n\n", ""), ("- x: >-\n    text\n", "  "), ("- |\n  text\n", "- ")]
)
def test_what_follows_a_block_of_yaml_is_filled(block: str, before: str) -> None:
    document = filled(f"{block}{before}y: ${{A}}\n", ".yaml", A="a: b")
    assert (document[-1] if isinstance(document, list) else document)["y"] == "a: b"


def test_a_doubled_single_quote_does_not_end_the_quotes() -> None:
    assert filled("x: 'it''s ${A}'", ".yaml", A="O'Hara") == {"x": "it's O'Hara"}


def test_no_value_gets_out_of_single_quotes_with_a_doubled_one_in_them() -> None:
    assert filled("x: 'a'':${A},b'\n", ".yaml", A="' # ") == {"x": "a':' # ,b"}


# -- Both, and plain text ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "template"),
    [(".json", '"${A}"'), (".yaml", '"${A}"'), (".yaml", "'${A}'"), (".yml", "${A}"), (".md", '"${A}"')],
)
@pytest.mark.parametrize("value", ["${B}", "$${B}", "${A}", "$$", "a ${ b }"])
def test_what_looks_like_a_variable_in_a_value_is_not_filled_again(suffix: str, template: str, value: str) -> None:
    text = render(template, suffix, {"A": value, "B": "never"})
    assert yaml.safe_load(text) == value


@pytest.mark.parametrize(
    ("suffix", "template"),
    [(".json", '"x $${A} ${B}"'), (".yaml", '"x $${A} ${B}"'), (".yaml", "'x $${A} ${B}'"), ("", '"x $${A} ${B}"')],
)
def test_a_doubled_dollar_leaves_the_variable_to_the_agent(suffix: str, template: str) -> None:
    assert yaml.safe_load(render(template, suffix, {"B": "b"})) == "x ${A} b"


@pytest.mark.parametrize("template", ["x: $${A}", "x: http://$${A}/", "- $${A} # comment"])
def test_a_doubled_dollar_leaves_the_variable_to_the_agent_outside_of_quotes_too(template: str) -> None:
    assert yaml.safe_load(render(template, ".yaml", {})) == yaml.safe_load(template.replace("$$", "$"))


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml", ".md", ""])
def test_a_variable_without_a_value_is_named(suffix: str) -> None:
    with pytest.raises(TemplateError, match="the variable LLM_API_KEY has no value"):
        render('"${LLM_API_KEY}"', suffix, {"LLM_BASE_URL": "x"})


def test_what_a_comment_of_yaml_says_is_not_filled() -> None:
    assert filled("a: 1  # ${NOT_FILLED}\n", ".yaml") == {"a": 1}


@pytest.mark.parametrize("suffix", [".md", ".toml", ""])
def test_a_text_without_variables_is_left_as_it_is(suffix: str) -> None:
    text = '# Title\r\n\r\n$HOME ${} ${1} ${a b} $(x): it\'s "so"\n\n- a: [1, 2]\n'
    assert render(text, suffix, {}) == text


@given(value=ANY_TEXT)
def test_a_value_is_put_into_plain_text_as_it_is(value: str) -> None:
    assert render("Hello ${NAME}, $${NAME}!", ".md", {"NAME": value}) == f"Hello {value}, ${{NAME}}!"


@given(template=st.text(max_size=80) | st.lists(st.sampled_from(PIECES)).map("".join))
@pytest.mark.parametrize("suffix", [".json", ".yaml", ".md"])
def test_any_template_is_filled_or_refused_in_words(template: str, suffix: str) -> None:
    with suppress(TemplateError):
        render(template, suffix, {"A": "x"})
