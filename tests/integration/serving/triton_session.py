"""A process that speaks with the server through tritonclient alone, and prints what it saw as JSON.

    python -m tests.integration.serving.triton_session sync|asyncio|stream|cancel HOST:PORT

It imports no generated code of ours: two sets for one proto package cannot live in one process.
"""

import asyncio
import json
import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as sync
import tritonclient.grpc.aio as aio
from tritonclient.utils import InferenceServerException

LEVELS = (0.2, 0.5, 0.8, 0.95)
IMAGES = np.stack([np.full((3, 8, 8), level, np.float32) for level in LEVELS])
PATIENCE = 60


def images(values: np.ndarray = IMAGES, kind: str = "FP32", api: Any = sync) -> list[Any]:
    tensor = api.InferInput("images", list(values.shape), kind)
    tensor.set_data_from_numpy(values)
    return [tensor]


def words(result: Any, name: str = "verdict") -> Any:
    return np.vectorize(bytes.decode)(result.as_numpy(name)).tolist()


def run_sync(target: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    with sync.InferenceServerClient(target) as client:
        seen["live"] = [
            client.is_server_live(), client.is_server_ready(), client.is_model_ready("tiny")
        ]  # fmt: skip
        seen["server"] = client.get_server_metadata(as_json=True)
        seen["model"] = client.get_model_metadata("tiny", as_json=True)
        seen["config"] = client.get_model_config("tiny", as_json=True)["config"]
        result = client.infer(
            "tiny", images(), request_id="a", priority=1, timeout=60_000_000,
            parameters={"threshold": 1.0},
        )  # fmt: skip
        seen["raised"] = [result.as_numpy("valid").tolist(), words(result)]
        result = client.infer("tiny", images())
        seen["scores"] = [round(score, 4) for score in result.as_numpy("score").tolist()[:3]]
        seen["half"] = words(client.infer("tiny", images(IMAGES.astype(np.float16), "FP16")))
        seen["bytes"] = words(client.infer("tiny", images((IMAGES * 255).astype("u1"), "UINT8")))
        outputs = [sync.InferRequestedOutput("logits", class_count=2)]
        coloured = IMAGES[:1] * np.array([2, 1, 3], np.float32)[:, None, None]
        ranked = client.infer("tiny", images(coloured), outputs=outputs)
        seen["classes"] = words(ranked, "logits")
        answers: queue.Queue[Any] = queue.Queue()
        for _ in range(3):
            client.async_infer("tiny", images(), lambda result, error: answers.put(error or result))
        seen["async"] = [words(answers.get(timeout=PATIENCE)) for _ in range(3)]
        seen["index"] = client.get_model_repository_index(as_json=True)["models"]
        client.load_model("tiny")
        seen["statistics"] = client.get_inference_statistics("tiny", as_json=True)["model_stats"]
        client.unregister_system_shared_memory()
        client.unregister_cuda_shared_memory()
        seen["regions"] = [
            client.get_system_shared_memory_status(as_json=True),
            client.get_cuda_shared_memory_status(as_json=True),
        ]
        seen["trace"] = client.get_trace_settings(as_json=True)
        seen["log"] = sorted(client.get_log_settings(as_json=True)["settings"])
        seen["refused"] = [
            refusal(lambda: client.infer("tinny", images())),
            refusal(lambda: client.infer("tiny", images(IMAGES + 2))),
            refusal(lambda: client.infer("tiny", images(), sequence_id=3)),
            refusal(lambda: client.register_system_shared_memory("r", "/r", 8)),
            refusal(lambda: client.load_model("tiny", config="{}")),
            refusal(lambda: client.load_model("other")),
            refusal(lambda: client.update_log_settings({"log_info": False})),
            refusal(lambda: client.update_trace_settings(settings={"trace_rate": "1"})),
        ]
    return seen


def refusal(call: Any) -> list[str]:
    try:
        call()
    except InferenceServerException as error:
        return [str(error.status()), str(error.message())]
    return []


async def run_asyncio(target: str) -> dict[str, Any]:
    async with aio.InferenceServerClient(target) as client:
        results = await asyncio.gather(
            *(client.infer("tiny", images(api=aio), request_id=str(n)) for n in range(20))
        )

        async def requests() -> Any:
            for number in range(5):
                yield {"model_name": "tiny", "inputs": images(api=aio), "request_id": str(number)}

        streamed = [answer async for answer in client.stream_infer(requests())]
        return {
            "ids": [result.get_response().id for result in results],
            "words": [words(result) for result in results],
            "streamed": [[result.get_response().id, str(error)] for result, error in streamed],
            "index": (await client.get_model_repository_index(as_json=True))["models"],
            "config": (await client.get_model_config("tiny", as_json=True))["config"]["name"],
        }


def run_stream(target: str) -> dict[str, Any]:
    answers: queue.Queue[Any] = queue.Queue()
    with sync.InferenceServerClient(target) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for number in range(30):
            given = images() if number % 10 else images(IMAGES * np.float32(np.nan))
            client.async_stream_infer(
                "tiny", given, request_id=str(number), enable_empty_final_response=True
            )
        seen = [answers.get(timeout=PATIENCE) for _ in range(30)]
        client.stop_stream()
    good = [result.get_response() for result, error in seen if error is None]
    return {
        "ids": [response.id for response in good],
        "final": all(one.parameters["triton_final_response"].bool_param for one in good),
        "words": [words(result) for result, error in seen if error is None],
        "errors": [error.message() for result, error in seen if error is not None],
        "left": answers.qsize(),
    }


def run_cancel(target: str) -> dict[str, Any]:
    """Leave a stream while much is in hand; then use another."""
    answers: queue.Queue[Any] = queue.Queue()
    with sync.InferenceServerClient(target) as client:
        client.start_stream(lambda result, error: answers.put(error))
        for number in range(200):
            client.async_stream_infer("tiny", images(), request_id=str(number))
        answers.get(timeout=PATIENCE)
        client.stop_stream(cancel_requests=True)
        answered = answers.qsize()
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer("tiny", images(), request_id="after")
        while not isinstance(last := answers.get(timeout=PATIENCE), tuple):
            continue
        client.stop_stream()
    return {"answered": answered, "after": last[0].get_response().id}


if __name__ == "__main__":
    mode, address = sys.argv[1:]
    if mode == "asyncio":
        found = asyncio.run(run_asyncio(address))
    else:
        found = {"sync": run_sync, "stream": run_stream, "cancel": run_cancel}[mode](address)
    json.dump(found, sys.stdout)
