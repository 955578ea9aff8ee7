"""The `llm` command before a gateway: what each call of it came to, as one line of JSON. A script, run by the tests."""

from __future__ import annotations

import json
import os
from pathlib import Path

from click.testing import CliRunner

ITALY = "What is the capital of Italy?"
WEATHER = "How is the weather in Rome and Oslo?"
FUNCTIONS = """
def weather(city: str) -> str:
    "The weather in a city."
    return {"Rome": "22 degrees", "Oslo": "5 degrees"}[city]
"""
OURS = """
- model_id: ours-{lane}
  model_name: {model}
  api_base: {gateway}/v1
  api_key_name: ours
  supports_tools: true
  supports_schema: true
"""


def main() -> None:
    """Try everything, in one process: to start it takes longer than the rest."""
    keys, lanes = json.loads(os.environ["KEYS"]), json.loads(os.environ["LANES"])
    home, gateway = Path(os.environ["SCRATCH"]), os.environ["GATEWAY"]
    models = lanes | {"none": "nothing-of-ours"}
    (home / "extra-openai-models.yaml").write_text(
        "".join(OURS.format(lane=lane, model=model, gateway=gateway) for lane, model in models.items())
    )
    (home / "keys.json").write_text(json.dumps({"ours": keys["good"]}))
    asked = {}
    for lane in lanes:
        asked[f"plain {lane}"] = ["-m", f"ours-{lane}", ITALY, "--no-stream"]
        asked[f"streamed {lane}"] = ["-m", f"ours-{lane}", ITALY]
        asked[f"tools {lane}"] = ["-m", f"ours-{lane}", WEATHER, "--functions", FUNCTIONS]
        asked[f"structured output {lane}"] = [
            "-m",
            f"ours-{lane}",
            "Where is the Pantheon, as JSON?",
            "--schema",
            "city, country",
        ]
    for name in ("wrong", "poor"):
        asked[name] = ["-m", "ours-openai", ITALY, "--key", keys[name]]
    asked["unknown"] = ["-m", "ours-none", ITALY]
    os.environ["LLM_USER_PATH"] = str(home)
    from llm.cli import cli  # which looks there

    results = {}
    for name, arguments in asked.items():
        done = CliRunner().invoke(cli, ["prompt", *arguments, "--no-log"])
        results[name] = {"said": done.stdout.strip(), "exit": done.exit_code, "error": done.stderr.strip()}
    print(json.dumps(results))


main()
