"""What is told of an agreement is what the manifest says, at the end of an export and later."""

from export.agreement_in_words import agreement_lines, agreement_rows
from guard.manifest import Agreement, Variant

PARITY = {
    "model.onnx": {
        place: Agreement(images=300, logits=2e-6, score=score, ties=ties, tolerance=1e-4)
        for place, score, ties in (
            ("CPUExecutionProvider", 3.14e-6, 0),
            ("CUDAExecutionProvider", 5e-5, 2),
        )
    }
}
VARIANTS = {
    "int8": Variant(
        file="model.int8.onnx",
        threshold=1.25,
        calibration_size=90,
        images=200,
        same_labels=0.985,
        same_verdicts=0.97,
        false_alarm_rate=0.055,
        engine="torch",
        file_images=4,
    )
}
SHARES = "labels are float32's on 98.5% of 200 images, verdicts on 97.0%; 5.5% false alarms"


def test_each_file_gets_a_sentence_for_each_place() -> None:
    start = "labels and verdicts are the module's on 300 images"
    assert list(agreement_lines(PARITY, VARIANTS)) == [
        f"model.onnx on CPUExecutionProvider: {start} (0 ties), scores within 3e-06",
        f"model.onnx on CUDAExecutionProvider: {start} (2 ties), scores within 5e-05",
        f"model.int8.onnx: {SHARES} at its own threshold (torch)",
    ]


def test_each_file_and_place_is_a_row() -> None:
    assert agreement_rows(PARITY, VARIANTS) == {
        "parity, model.onnx, CPUExecutionProvider": (
            "300 images, 0 ties; logits within 2e-06, scores 3e-06"
        ),
        "parity, model.onnx, CUDAExecutionProvider": (
            "300 images, 2 ties; logits within 2e-06, scores 5e-05"
        ),
        "int8": f"threshold 1.25; {SHARES}",
    }
    assert agreement_rows({}, {}) == {}
