#!/usr/bin/env python3
"""Subscribes to maskd's masks and checks every message: `pip install -r requirements.txt`, then
`subscriber.py --connect tcp/127.0.0.1:7447 --stream gate --count 100`.

Prints one line of JSON; exits with 1 where a message was wrong, or where fewer than --count came in time.
"""

import argparse
import json
import sys
import time

import zenoh
from pycocotools import mask as coco


def check(message, last):
    """What is wrong with a message; `last` is the sequence before it."""
    frame = [message["frame"]["height"], message["frame"]["width"]]
    if message["version"] != 1:
        yield f"version {message['version']}"
    if last is not None and message["sequence"] <= last:
        yield f"sequence {message['sequence']} after {last}"
    quality = message["quality"]
    if not 0 < quality["level"] <= 1 or not quality.get("rate", 1) > 0:
        yield f"quality {quality}"
    ids = [instance["id"] for instance in message["instances"]]
    if len(set(ids)) != len(ids):
        yield f"ids {ids} are not unique"
    for instance in message["instances"]:
        of = f"sequence {message['sequence']} instance {instance['id']}: "
        mask, box = instance["mask"], instance["bbox"]
        pixels = coco.decode(mask)
        if mask["size"] != frame or list(pixels.shape) != frame:
            yield of + f"size {mask['size']}, decoded {pixels.shape}, frame {frame}"
        if not instance["area"] == int(pixels.sum()) == int(coco.area(mask)):
            yield of + f"area {instance['area']}, decoded {int(pixels.sum())}"
        stated = [box[side] for side in ("x", "y", "width", "height")]
        if coco.toBbox(mask).tolist() != stated:
            yield of + f"box {stated}, decoded {coco.toBbox(mask).tolist()}"
        if not 0 <= instance["score"] <= 1:
            yield of + f"score {instance['score']}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connect", default="tcp/127.0.0.1:7447", help="where the daemon or a router listens")
    parser.add_argument("--site", default="*")
    parser.add_argument("--stream", default="*")
    parser.add_argument("--count", type=int, default=100, help="messages to check")
    parser.add_argument("--timeout", type=float, default=60, help="seconds to wait for all of them")
    args = parser.parse_args()

    config = zenoh.Config()
    config.insert_json5("connect/endpoints", json.dumps([args.connect]))
    config.insert_json5("listen/endpoints", "[]")
    config.insert_json5("scouting/multicast/enabled", "false")

    deadline = time.monotonic() + args.timeout
    last, messages, masks, coarsened, skipped, lost, violations = {}, 0, 0, 0, 0, 0, []
    with zenoh.open(config) as session:
        # A ring, not the default queue of 256: who is slow skips messages instead of reading the past.
        key = f"maskd/v1/{args.site}/{args.stream}/masks"
        subscriber = session.declare_subscriber(key, zenoh.handlers.RingChannel(16))
        while messages < args.count and time.monotonic() < deadline:
            sample = subscriber.try_recv()
            if sample is None:
                time.sleep(0.002)
                continue
            if sample.encoding == zenoh.Encoding.APPLICATION_CBOR:
                sys.exit("the daemon publishes CBOR: this script reads JSON (encoding = \"json\")")
            message = json.loads(sample.payload.to_bytes())
            stream = (message["site"], message["stream"])
            sequence, number = last.get(stream, (None, None))
            violations += check(message, sequence)
            if number is not None:
                lost += message["number"] - number - 1
                skipped += message["sequence"] - sequence - 1
            last[stream] = (message["sequence"], message["number"])
            messages += 1
            masks += len(message["instances"])
            coarsened += "coarsened" in message

    for violation in violations[:20]:
        print(violation, file=sys.stderr)
    summary = {"messages": messages, "masks": masks, "streams": sorted("/".join(s) for s in last), "coarsened": coarsened,
               "frames_skipped": skipped, "messages_lost": lost, "violations": len(violations)}
    print(json.dumps(summary))
    sys.exit(1 if violations or messages < args.count else 0)


if __name__ == "__main__":
    main()
