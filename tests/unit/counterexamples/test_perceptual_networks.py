"""LPIPS against the package `lpips`, Inception against torchmetrics, and weights that are not."""

import hashlib
import pickle
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

import lpips
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torchmetrics.image.fid import FrechetInceptionDistance

from guard.errors import BadInput
from offline.counterexamples.measures import perceptual_networks
from offline.counterexamples.measures.perceptual_networks import (
    InceptionFeatures,
    LpipsDistance,
    WeightsMissing,
)
from offline.counterexamples.measures.realism import (
    RealismSettings,
    frechet_distance,
    measure_realism,
)

NETWORKS = {"alex": "alexnet", "squeeze": "squeezenet1_1"}


def backbone(network: str) -> dict[str, torch.Tensor]:
    """Return random weights of a backbone, without its classifier."""
    torch.manual_seed(0)
    model = getattr(torchvision.models, NETWORKS[network])(weights=None)
    tensors: dict[str, torch.Tensor] = model.features.state_dict()
    return {f"features.{name}": value for name, value in tensors.items()}


def images(seed: int, count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, 48, 64), generator=generator).to(torch.uint8)


@pytest.mark.filterwarnings("ignore:The parameter 'pretrained':UserWarning")
@pytest.mark.filterwarnings("ignore:Arguments other than a weight enum:UserWarning")
@pytest.mark.parametrize(("network", "ending"), [("alex", "pth"), ("squeeze", "safetensors")])
def test_lpips_is_that_of_its_authors(
    network: str, ending: str, tmp_path: Path, device: torch.device
) -> None:
    tensors, file = backbone(network), tmp_path / f"weights.{ending}"
    if ending == "pth":
        torch.save(tensors, file)
    else:
        save_file(tensors, file)
    theirs = lpips.LPIPS(net=network, pnet_rand=True, verbose=False)
    # Their slices keep the numbers that torchvision gives the layers.
    theirs.net.load_state_dict(
        {name: tensors["features." + name.partition(".")[2]] for name in theirs.net.state_dict()}
    )
    one, two = images(1), images(2)
    expected = theirs(one / 127.5 - 1, two / 127.5 - 1).flatten()
    ours = LpipsDistance(network, file).to(device)
    with torch.no_grad():
        found = ours(one.to(device), two.to(device)).cpu()
        alone = ours(one[:1].to(device), two[:1].to(device)).cpu()
        same = ours(one.to(device), one.to(device)).cpu()
    torch.testing.assert_close(found, expected.detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(alone, found[:1], atol=1e-6, rtol=1e-4)
    assert (found > 0.01).all()
    assert same.tolist() == [0, 0, 0]


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of random weights of FID's Inception, in half precision."""
    empty, file = (tmp_path_factory.mktemp("inception") / name for name in ("empty.pth", "it.pth"))
    torch.save({}, empty)
    torch.manual_seed(0)
    # It has no constructor without weights: this leaves those that it begins with.
    with patch.object(FeatureExtractorInceptionV3, "load_state_dict"):
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(empty))
    torch.save(network.half().state_dict(), file)
    return file


def test_inception_is_that_of_torchmetrics(inception: Path, device: torch.device) -> None:
    metric = FrechetInceptionDistance(2048, feature_extractor_weights_path=str(inception))
    with torch.no_grad():
        expected = metric.inception(images(1, 2))
        found = InceptionFeatures(inception).to(device)(images(1, 2).to(device)).cpu()
    assert found.shape == (2, 2048)
    assert float(expected.std()) > 0
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_fid_is_measured_by_class_where_there_are_enough(
    inception: Path, tmp_path: Path, device: torch.device
) -> None:
    torch.save(backbone("squeeze"), tmp_path / "squeeze.pth")
    settings = RealismSettings(
        network="squeeze",
        lpips_weights=tmp_path / "squeeze.pth",
        inception_weights=inception,
        fewest=3,
        batch_size=2,
    )
    originals, others = images(1, 5), images(2, 5)
    labels = torch.tensor([0, 1, 1, 0, 1])
    found = measure_realism(originals, others, labels, 3, settings, device)
    assert found.lacking == ()
    network = InceptionFeatures(inception)
    features = [network(part) for part in (originals, others)]
    assert found.fid == pytest.approx(frechet_distance(*features), rel=1e-3)
    second = frechet_distance(*(part[labels == 1] for part in features))
    assert found.fid_by_class == (None, pytest.approx(second, rel=1e-3), None)
    assert found.figures()["fid_by_class"][0] is None


class Call:
    """Makes its reader call something: what a pickle can do."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this was run",)


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Return files that hold no weights, with what is said of them."""
    names = ("gone.pth", "text.pth", "cut.safetensors", "code.pth", "list.pth", "other.pth")
    gone, text, cut, code, number, other = (folder / name for name in names)
    text.write_text("not weights")
    cut.write_bytes(b"\x10\x00\x00")
    code.write_bytes(pickle.dumps({"features.0.weight": Call()}, protocol=2))
    torch.save([torch.ones(1)], number)
    torch.save({"features.0.weight": torch.ones(2)}, other)
    unread = "cannot be read as weights"
    return {
        "gone": (gone, unread),
        "text": (text, unread),
        "cut": (cut, unread),
        "code": (code, unread),
        "list": (number, "it holds no tensors by name"),
        "other": (other, "not the weights of"),
    }


@pytest.mark.parametrize("kind", ["gone", "text", "cut", "code", "list", "other"])
@pytest.mark.parametrize("network", ["lpips", "inception"])
def test_a_file_of_something_else_is_refused_in_one_line(
    kind: str, network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, words = bad_files(tmp_path)[kind]
    with pytest.raises(BadInput) as caught:
        InceptionFeatures(file) if network == "inception" else LpipsDistance("squeeze", file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert words in message
    assert "\n" not in message
    assert "this was run" not in capsys.readouterr().out


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve `tmp_path` over HTTP, and have torch keep what it downloads in a folder of its own."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_weights_are_downloaded_once_and_only_if_their_sum_is_right(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "random.pth"
    torch.save(backbone("squeeze"), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    expected = LpipsDistance("squeeze", file)(images(1), images(2))
    file.rename(tmp_path / f"random-{digest}.pth")
    (tmp_path / "random-00000000.pth").write_bytes(b"something else")

    monkeypatch.setitem(perceptual_networks.BACKBONES, "squeeze", f"{store}/random-00000000.pth")
    with pytest.raises(WeightsMissing, match="invalid hash"):
        LpipsDistance("squeeze", None)
    monkeypatch.setitem(perceptual_networks.BACKBONES, "squeeze", f"{store}/gone-00000000.pth")
    with pytest.raises(WeightsMissing, match="404"):
        LpipsDistance("squeeze", None)

    monkeypatch.setitem(perceptual_networks.BACKBONES, "squeeze", f"{store}/random-{digest}.pth")
    first = LpipsDistance("squeeze", None)(images(1), images(2))
    assert torch.equal(first, expected)
    (tmp_path / f"random-{digest}.pth").unlink()
    again = LpipsDistance("squeeze", None)(images(1), images(2))
    assert torch.equal(again, expected)


def test_without_a_network_the_weights_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # the port that discards: no answer
    for build in (partial(LpipsDistance, "alex"), InceptionFeatures):
        with pytest.raises(
            WeightsMissing, match=r"https://.*\.pth: cannot be downloaded"
        ) as caught:
            build(None)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.pth"))
