"""Parcels: send one, and see where they are."""

from __future__ import annotations

from typing import Annotated

import typer

from kaixu.plugin import CommandError, GatewayClient


def send(gateway: GatewayClient, grams: Annotated[int, typer.Argument(help="Its weight.")]) -> None:
    """Send a parcel."""
    made = gateway.json("POST", "/v1/parcel/parcels", {"grams": grams})
    typer.echo(f"parcel {made['number']}: {made['state']}")


def where(gateway: GatewayClient, number: int) -> None:
    """Say where a parcel is."""
    answer = gateway.send("GET", f"/v1/parcel/parcels/{number}", accept={404})
    if answer.status_code == 404:
        raise CommandError(f"there is no parcel {number}", hint="`kaixu parcel list` shows yours.")
    typer.echo(answer.json()["state"])


def listed(gateway: GatewayClient) -> None:
    """List them."""
    for one in gateway.json("GET", "/v1/parcel/parcels")["parcels"]:
        typer.echo(f"{one['number']}  {one['grams']} g  {one['state']}")


COMMANDS = {"send": send, "where": where, "list": listed}
