"""Serves claims of the default StorageClass: a process of the cluster, `python3 provisioner.py --name NAME`.

Level-triggered: after every event the lists are read again, so nothing is lost if it is killed or misses an event.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from localcluster import manifests
from localcluster.api import CONFLICT, NOT_FOUND, Api, ApiError
from localcluster.settings import Places

CLAIMS = "/api/v1/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
RETRY_SECONDS = 1.0
RELIST_SECONDS = 30

log = logging.getLogger("provisioner")


def serve_claims(api: Api, places: Places) -> str:
    """Make a volume for every claim that waits; return the version of the list."""
    claims = api.get(CLAIMS)
    for claim in claims["items"]:
        if not manifests.wants_a_volume(claim, places.name):
            continue
        folder = places.volumes / manifests.volume_name(claim)
        folder.mkdir(parents=True, exist_ok=True)
        # A container of any user may write, as with kind's provisioner.
        folder.chmod(0o777)
        try:
            api.request("POST", VOLUMES, manifests.volume(claim, str(folder), places.name))
        except ApiError as error:
            if error.status != CONFLICT:
                raise
        else:
            log.info("made %s for %s/%s", folder.name, claim["metadata"]["namespace"], claim["metadata"]["name"])
    return str(claims["metadata"]["resourceVersion"])


def collect_volumes(api: Api, places: Places) -> None:
    """Remove the volumes whose claims are gone, the directory first."""
    for persistent_volume in api.get(VOLUMES)["items"]:
        if not manifests.is_released(persistent_volume):
            continue
        name = str(persistent_volume["metadata"]["name"])
        shutil.rmtree(places.volumes / name, ignore_errors=True)
        try:
            api.request("DELETE", f"{VOLUMES}/{name}")
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
        log.info("removed %s", name)


def serve(places: Places) -> None:
    """Serve for ever."""
    api = Api.of(places.pki, "provisioner")
    while True:
        try:
            version = serve_claims(api, places)
            collect_volumes(api, places)
            for event in api.watch(CLAIMS, version, timeout_seconds=RELIST_SECONDS):
                if event["type"] == "DELETED" or manifests.wants_a_volume(event["object"], places.name):
                    break
        except ApiError as error:
            log.warning("%s", error)
            time.sleep(RETRY_SECONDS)


def main() -> None:
    """Run as a process of the cluster."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="name of the cluster")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    serve(Places.of(arguments.name))


if __name__ == "__main__":
    main()
