"""One peer engine in a process of its own, so that its threads are nobody else's; benches/speed drives it.

    peers.py export FILE SPEC                  writes the network as ONNX
    peers.py ENGINE THREADS                    serves torch, onnxruntime, openvino or openvino-bf16 on stdin and stdout:
        load FILE SPEC    -> {"ok": true}      the network, ready to run (torch builds its own)
        run SECONDS       -> {"ms": [...]}     one untimed inference, then timed ones for SECONDS, at least one

SPEC is PATCH DIM HEADS DEPTH HEIGHT WIDTH BATCH LAYER_SCALE. An answer {"error": "..."} says what went wrong.
"""

import json
import sys
import time


def network(spec):
    import torch
    from vit import Vit

    torch.manual_seed(0)
    patch, dim, heads, depth, height, width, batch, layer_scale = spec
    model = Vit(patch, dim, heads, depth, height, width, bool(layer_scale)).eval().requires_grad_(False)
    return model, torch.randn(batch, 3, height, width)


def picture(spec):
    import numpy

    *_, height, width, batch, _ = spec
    return numpy.random.default_rng(0).standard_normal((batch, 3, height, width), dtype=numpy.float32)


def export(path, spec):
    import torch

    model, images = network(spec)
    torch.onnx.export(model, (images,), path, opset_version=18, dynamo=True)


class Torch:
    def __init__(self, threads):
        import torch

        torch.set_num_threads(threads)
        self.mode, self.version = torch.inference_mode, torch.__version__

    def load(self, _path, spec):
        model, images = network(spec)

        def infer():
            with self.mode():
                return model(images)

        return infer


class OnnxRuntime:
    def __init__(self, threads):
        import onnxruntime

        self.threads, self.runtime, self.version = threads, onnxruntime, onnxruntime.__version__

    def load(self, path, spec):
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = self.threads
        session = self.runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: picture(spec)}
        return lambda: session.run(None, feed)


class OpenVino:
    def __init__(self, threads, precision="f32"):
        import openvino

        self.core, self.version = openvino.Core(), openvino.__version__.split("-")[0]
        self.settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
        }

    def load(self, path, spec):
        request = self.core.compile_model(path, "CPU", self.settings).create_infer_request()
        images = picture(spec)
        return lambda: request.infer([images], share_inputs=True, share_outputs=True)


def timed(infer, seconds):
    infer()
    times, began = [], time.perf_counter()
    while not times or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        infer()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def serve(name, threads):
    say = lambda answer: print(json.dumps(answer), flush=True)
    try:
        engines = {
            "torch": Torch,
            "onnxruntime": OnnxRuntime,
            "openvino": OpenVino,
            "openvino-bf16": lambda threads: OpenVino(threads, "bf16"),
        }
        engine = engines[name](threads)
    except Exception as error:
        return say({"error": f"{type(error).__name__}: {error}"})
    say({"version": engine.version})
    infer = None
    for line in sys.stdin:
        command, *rest = line.split("\t")
        try:
            if command == "load":
                # The one before goes first: its memory is not to be held beside the new one's.
                infer = None
                infer = engine.load(rest[0], [int(word) for word in rest[1].split()])
                say({"ok": True})
            else:
                say({"ms": timed(infer, float(rest[0]))})
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(sys.argv[2], [int(word) for word in sys.argv[3].split()])
    else:
        serve(sys.argv[1], int(sys.argv[2]))
