"""moto 5.2.5 with what it takes to deploy the stacks as to AWS. Refused on any other version, as `ministack_corrected.py` is."""

import importlib.metadata
import json
import sys

VERSION = "5.2.5"
FOUND = importlib.metadata.version("moto")
if FOUND != VERSION:
    sys.exit(f"moto: given {FOUND}; the corrections in {__file__} were written for {VERSION}. Install that version, or review them.")

from moto.amp.responses import PrometheusServiceResponse  # noqa: E402
from moto.server import main  # noqa: E402

create_workspace = PrometheusServiceResponse.create_workspace
workspaces = {}


def workspaces_are_made_once(response):
    """AWS: CreateWorkspace with a clientToken that it has seen makes no second workspace; an SDK repeats a call with its token."""
    token = json.loads(response.body).get("clientToken")
    if token not in workspaces:
        created = create_workspace(response)
        if token is None:
            return created
        workspaces[token] = created
    return workspaces[token]


if __name__ == "__main__":
    PrometheusServiceResponse.create_workspace = workspaces_are_made_once
    main()
