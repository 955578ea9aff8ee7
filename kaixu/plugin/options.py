"""The base class of a plugin's options: its own fields in kaixu.yaml."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """A plugin's own fields in kaixu.yaml. Unknown fields are errors; secrets are `SecretStr`."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
