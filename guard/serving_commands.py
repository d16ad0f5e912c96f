"""The commands that bring a bundle to its clients: `serve`, `triton`, `kserve`."""

import os
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from guard.bundle import load_bundle
from guard.bundle_commands import BundleFolder, PublicKey
from guard.given import from_flags
from guard.progress import CONSOLE
from guard.settings import Settings, parse_settings
from guard.toolchain import toolchain

__all__ = ["app"]

app = typer.Typer()

ModelName = Annotated[str | None, typer.Option(help="What clients call the model.")]
Kind = TypeVar("Kind", bound=Settings)


@app.command(epilog="Example: cornerguard serve runs/demo/bundle --grpc-port 8001")
def serve(
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(metavar="BUNDLE…", help="The folders of guard bundles."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    name: ModelName = None,
    grpc_port: Annotated[int | None, typer.Option(help="0 takes a free one.")] = None,
    http_port: Annotated[
        int | None, typer.Option(help="Metrics and probes; 0 takes a free one.")
    ] = None,
    public_key: PublicKey = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a key: --set limits.pixels=1000000"
        ),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print all settings as YAML, and end.")
    ] = False,
) -> None:
    """Serve bundles over gRPC, with metrics and probes over HTTP, until SIGTERM.

    Settings come from --config, from the environment (CORNERGUARD_LIMITS__PIXELS=1000000 sets
    limits.pixels), and from flags; the later win. They are read once. SIGHUP loads bundles that
    were replaced; one that does not verify leaves the old one serving.
    """
    from guard.serving.configuration import as_yaml, serve_settings

    flags = {
        "host": host,
        "name": name,
        "grpc_port": grpc_port,
        "http_port": http_port,
        "public_key": public_key,
    }
    settings = serve_settings(config, flags, overrides or ())
    if print_config:
        typer.echo(as_yaml(settings), nl=False)
        return
    # gRPC's own lines, one for each failed handshake, are no JSON. It reads this when loaded.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from guard.serving.server import serve as serve_bundles

    serve_bundles(bundles or (), settings)


@app.command(epilog="Example: cornerguard triton runs/demo/bundle models --device gpu")
def triton(
    bundle: BundleFolder,
    repository: Annotated[Path, typer.Argument(metavar="REPOSITORY", help="The model repository.")],
    name: ModelName = None,
    max_batch: Annotated[
        int | None, typer.Option(help="0: no batching, and requests may bring a threshold.")
    ] = None,
    preferred_batch: Annotated[
        list[int] | None, typer.Option(help="A batch size not to wait beyond; may be repeated.")
    ] = None,
    queue_delay: Annotated[int | None, typer.Option(help="Microseconds to wait for more.")] = None,
    instances: Annotated[int | None, typer.Option(help="Copies of the model.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or gpu.")] = None,
) -> None:
    """Write a bundle into a Triton model repository: graph, labels and config.pbtxt."""
    export = toolchain("export.triton")
    settings = _settings(
        export.TritonSettings,
        name=name,
        max_batch_size=max_batch,
        preferred_batch_sizes=preferred_batch,
        queue_delay=queue_delay,
        instances=instances,
        device=device,
    )
    _tell(export.write_triton_repository(load_bundle(bundle), repository, settings))


@app.command(
    epilog="Example: cornerguard kserve runs/demo/bundle guard.yaml --name guard "
    "--storage-uri s3://models/guard --image registry.example/cornerguard:1"
)
def kserve(
    bundle: BundleFolder,
    manifest: Annotated[Path, typer.Argument(metavar="FILE", help="The YAML file to write.")],
    name: Annotated[str, typer.Option(help="Of the service and of the model.")],
    storage_uri: Annotated[
        str, typer.Option(help="Where the cluster finds the bundle, or the Triton repository.")
    ],
    image: Annotated[
        str | None, typer.Option(help="Serves the bundle; left out, KServe's Triton does.")
    ] = None,
    namespace: Annotated[str | None, typer.Option(help="Left out: kubectl's own.")] = None,
    cpu: Annotated[str | None, typer.Option(help="As Kubernetes writes it: 1, 500m.")] = None,
    memory: Annotated[str | None, typer.Option(help="As Kubernetes writes it: 2Gi.")] = None,
    gpus: Annotated[int | None, typer.Option(help="NVIDIA GPUs of each replica.")] = None,
    min_replicas: Annotated[int | None, typer.Option(help="0 scales down to none.")] = None,
    max_replicas: Annotated[int | None, typer.Option(help="The most replicas.")] = None,
) -> None:
    """Write a KServe InferenceService for a bundle, to be given to kubectl."""
    export = toolchain("export.kserve")
    settings = _settings(
        export.KServeSettings,
        name=name,
        storage_uri=storage_uri,
        image=image,
        namespace=namespace,
        cpu=cpu,
        memory=memory,
        gpus=gpus,
        min_replicas=min_replicas,
        max_replicas=max_replicas,
    )
    export.write_kserve_manifest(load_bundle(bundle), manifest, settings)
    _tell(manifest)


def _settings(kind: type[Kind], **flags: Any) -> Kind:
    return parse_settings("", "the command line", kind, given=from_flags(flags))


def _tell(written: Path) -> None:
    CONSOLE.print(f"written: {written}", highlight=False, markup=False, soft_wrap=True)
