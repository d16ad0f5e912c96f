"""The gallery: a page of counterexamples that a reader sorts and filters, without a network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from guard.errors import BadInput
from guard.storage import replace_directory, write_text
from offline.evaluation.counterexamples_shown import AttackShown, CounterexampleShown, in_turn
from offline.evaluation.image_arrays import difference
from offline.evaluation.pages import PICTURES, page, script
from offline.evaluation.pictures import PictureFolder, Strip

__all__ = ["GALLERY", "Card", "draw_cards", "gallery_page", "write_gallery"]

GALLERY = "counterexamples.html"


@dataclass(frozen=True, eq=False)
class Card:
    """A counterexample as a page shows it: its number, pictures, and how the last is amplified."""

    number: int
    attack: str
    shown: CounterexampleShown
    strip: Strip
    amplification: float

    @property
    def is_wide(self) -> bool:
        """Whether three of its pictures want the width of the page."""
        return self.strip.width > 240

    @property
    def fools_hardened(self) -> bool:
        """Whether the hardened model errs as well."""
        return self.shown.hardened is not None and not self.shown.hardened.right


def draw_cards(attacks: Sequence[AttackShown], folder: PictureFolder) -> list[Card]:
    """Write the pictures of every example, one of each attack by turns."""
    return [
        _card(number, attack.name, each, folder)
        for number, (attack, each) in enumerate(in_turn(attacks), 1)
    ]


def gallery_page(
    name: str, attacks: Sequence[AttackShown], cards: Sequence[Card], report: str | None = None
) -> str:
    """Return the page of all cards; `report` is the page that it belongs to."""
    text, digest = script("gallery.js")
    return page(
        "gallery.html.j2",
        name=name,
        attacks=attacks,
        cards=cards,
        report=report,
        script=text,
        digest=digest,
    )


def write_gallery(folder: Path, name: str, attacks: Sequence[AttackShown]) -> Path:
    """Write `folder`/counterexamples.html and its pictures, a gallery without a report.

    Raises:
        BadInput: there is no counterexample to show.
    """
    if not any(attack.examples for attack in attacks):
        raise BadInput(f"{name}: the attacks found no counterexample: there is nothing to show")
    folder.mkdir(parents=True, exist_ok=True)
    with replace_directory(folder / PICTURES) as pictures:
        cards = draw_cards(attacks, PictureFolder(pictures))
    write_text(folder / GALLERY, gallery_page(name, attacks, cards))
    return folder / GALLERY


def _card(number: int, attack: str, shown: CounterexampleShown, folder: PictureFolder) -> Card:
    changed = ", ".join(shown.changed) or "the scene"
    picture, amplification = difference(shown.original, shown.counterexample)
    alts = (
        f"Original image of {shown.label}; the model says: {shown.before.text}",
        f"The same after {changed} changed; the model says: {shown.after.text}",
        "Difference of the two; grey is no change",
    )
    strip = folder.strip((shown.original, shown.counterexample, picture), alts)
    return Card(number, attack, shown, strip, amplification)
