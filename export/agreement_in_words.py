"""How closely the files of a bundle agree with the model that they were made from, in words."""

from collections.abc import Iterator, Mapping

from guard.manifest import Agreement, Variant

__all__ = ["agreement_lines", "agreement_rows"]

Parity = Mapping[str, Mapping[str, Agreement]]


def agreement_lines(parity: Parity, variants: Mapping[str, Variant]) -> Iterator[str]:
    """Yield a sentence for each file and place that it was run on, as an export ends with."""
    for file, place, agreed in _places(parity):
        yield (
            f"{file} on {place}: labels and verdicts are the module's on {agreed.images} images "
            f"({agreed.ties} ties), scores within {agreed.score:.1g}"
        )
    for variant in variants.values():
        yield f"{variant.file}: {_shares(variant)} at its own threshold ({variant.engine})"


def agreement_rows(parity: Parity, variants: Mapping[str, Variant]) -> dict[str, str]:
    """Return the same as rows of a table: what is spoken of, and what is said of it."""
    rows = {
        f"parity, {file}, {place}": f"{agreed.images} images, {agreed.ties} ties; "
        f"logits within {agreed.logits:.1g}, scores {agreed.score:.1g}"
        for file, place, agreed in _places(parity)
    }
    for name, variant in variants.items():
        rows[name] = f"threshold {variant.threshold:.6g}; {_shares(variant)}"
    return rows


def _places(parity: Parity) -> Iterator[tuple[str, str, Agreement]]:
    for file, places in parity.items():
        for place, agreed in places.items():
            yield file, place, agreed


def _shares(variant: Variant) -> str:
    return (
        f"labels are float32's on {variant.same_labels:.1%} of {variant.images} images, "
        f"verdicts on {variant.same_verdicts:.1%}; {variant.false_alarm_rate:.1%} false alarms"
    )
