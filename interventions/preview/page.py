"""A preview of an intervention as one file that needs nothing but itself."""

from pathlib import Path

from markupsafe import Markup

from foundation.pages import page_environment
from interventions.ledger import OUTCOMES, SWAPPED
from interventions.preview.text import Preview, heading, place, result_sentences

_HERE = Path(__file__).parent


def render(preview: Preview) -> str:
    """The page as text; the same preview gives the same bytes."""
    environment = page_environment(_HERE)
    return environment.get_template("preview.html.jinja").render(
        css=Markup((_HERE / "preview.css").read_text("utf-8")),
        preview=preview,
        results=result_sentences(preview),
        counts=preview.counts.to_dict("records"),
        total=preview.counts.sum(numeric_only=True).to_dict(),
        swapped=OUTCOMES[SWAPPED],
        heading=heading,
        place=place,
    )
