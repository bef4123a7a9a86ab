"""`smsd send`: an option for every field that a caller may give."""

import click

from smsd.cli.send import send
from smsd.core.fields import FIELDS


def test_every_field_of_a_request_has_an_option_with_its_description() -> None:
    options = {
        option: parameter
        for parameter in send.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    for field in FIELDS:
        option = f"--{field.name.replace('_', '-')}"
        assert (option in options) is field.in_send
        if field.in_send and not field.required:
            assert options[option].help == field.description
            assert options[option].name == field.name
