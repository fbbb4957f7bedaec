"""Pages that are made from templates."""

from pathlib import Path

import jinja2


def page_environment(folder: Path) -> jinja2.Environment:
    """Of the templates in a folder: what comes from data is escaped, and a name that is not given is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
