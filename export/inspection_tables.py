"""An inspection of a bundle, laid out for the terminal."""

import math

from rich.markup import escape
from rich.table import Table

from export.agreement_in_words import agreement_rows
from export.inspection import Inspection, Share
from guard.bundle_files import by_folder

__all__ = ["tables"]

SHOWN_CLASSES = 12


def tables(found: Inspection) -> tuple[Table, Table]:
    """Lay out an inspection for the terminal: the facts, then the layers."""
    facts = Table("", found.bundle, show_header=True)
    for name, sizes in by_folder(found.files).items():
        files = f" in {len(sizes)} files" if name.endswith("/") else ""
        facts.add_row(escape(name), f"{sum(sizes):,} bytes{files}")
    names = ", ".join(found.class_names[:SHOWN_CLASSES])
    more = ", …" if len(found.class_names) > SHOWN_CLASSES else ""
    rate, count = found.false_alarm_rate, found.calibration_size
    rows = {
        "signature": "present" if found.signed else "none",
        "classes": f"{len(found.class_names)}: {names}{more}",
        "threshold": f"{found.threshold:.6g}: false alarms {rate:.2%}, on {count:,} clean images",
        "weights": _share(found.table_bytes, "bytes"),
        "operations": f"{_share(found.operations, '')} for {'×'.join(map(str, found.image))}",
    }
    if found.measured is not None:
        ratio, (low, high), _, bare_ms = found.measured
        rows["latency"] = f"{bare_ms:.3g} ms × {ratio:.3f} (quartiles {low:.3f} to {high:.3f})"
    rows |= agreement_rows(found.parity, found.variants)
    rows["written by"] = ", ".join(f"{name} {at}" for name, at in found.package_versions.items())
    for name, text in rows.items():
        facts.add_row(escape(name), escape(text))
    layers = Table("layer", "kind", "keeps", "bytes")
    for layer in found.layers:
        largest = sorted(layer.tables.items(), key=lambda item: -math.prod(item[1]))[:3]
        keeps = ", ".join(f"{name} {'×'.join(map(str, shape))}" for name, shape in largest)
        layers.add_row(escape(layer.name), layer.kind, escape(keeps), f"{layer.size:,}")
    return facts, layers


def _share(share: Share, unit: str) -> str:
    model, detector = f"{share.model:,} {unit}".strip(), f"{share.detector:,} {unit}".strip()
    return f"{model} of the model, {detector} of the detector: × {share.ratio:.3f}"
