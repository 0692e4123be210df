"""`runabout logs`: the stored output of a run, straight from the object storage."""

import asyncio
import sys
from typing import Annotated

import typer
from pydantic_settings import BaseSettings, SettingsConfigDict

from runabout.ost import OstError, OstSettings, iterate, open_ost


class StorageSettings(BaseSettings):
    """Where the object storage is; the operator's own variables."""

    model_config = SettingsConfigDict(env_prefix="RUNABOUT_", extra="ignore")

    ost: str = "file:///var/lib/runabout/ost"
    s3_endpoint: str = ""
    s3_region: str = "us-east-1"
    s3_path_style: bool = False


def logs(
    run: Annotated[str, typer.Argument(help="Id of the run, from its status.")],
    task: Annotated[str, typer.Option(help="Only this task.")] = "",
) -> None:
    """Print the stored logs of a run; RUNABOUT_OST says where they are."""
    try:
        found = asyncio.run(_print(run, task))
    except OstError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(1) from error
    if not found:
        sys.stderr.write(f"there are no logs of run {run}{f', task {task}' if task else ''}\n")
        raise typer.Exit(1)


async def _print(run: str, task: str) -> int:
    settings = StorageSettings()
    store = await open_ost(
        OstSettings(
            url=settings.ost,
            s3_endpoint=settings.s3_endpoint,
            s3_region=settings.s3_region,
            s3_path_style=settings.s3_path_style,
        )
    )
    count = 0
    out = sys.stdout.buffer
    prefix = f"logs/{run}/{task}/" if task else f"logs/{run}/"
    try:
        async for item in iterate(store, prefix):
            count += 1
            out.write(f"--- {item.key.removeprefix('logs/')}\n".encode())
            async with store.open(item.key) as reader:
                async for piece in reader:
                    out.write(piece)
            out.flush()
    finally:
        await store.close()
    return count
