"""HTML pages from the templates beside them; every text is escaped."""

import base64
import hashlib
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from offline.evaluation.figures_in_words import area, percent, size

__all__ = ["PICTURES", "page", "script"]

PICTURES = "pictures"
"""The folder beside a page that its pictures lie in."""

_ENVIRONMENT = Environment(
    loader=PackageLoader("offline.evaluation"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(percent=percent, area=area, size=size)


def page(template: str, **values: Any) -> str:
    """Fill in a template of this package."""
    return _ENVIRONMENT.get_template(template).render(pictures=PICTURES, **values)


def script(template: str) -> tuple[Markup, str]:
    """Return a script as it stands in a page, and the hash by which its policy allows no other."""
    text = _ENVIRONMENT.get_template(template).render()
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"sha256-{digest}"  # noqa: S704 - our own file, nothing filled in
