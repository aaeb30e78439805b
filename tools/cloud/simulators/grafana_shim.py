"""Amazon Managed Grafana, as far as a workspace is made, described, tagged and deleted: no simulator has it.

Every request is checked against botocore's model of the service (parameters known, required ones present, values in their
enumerations and patterns) before it is answered, and every answer is checked too.
"""

import json
import re
import secrets
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import botocore.session
from botocore.validate import ParamValidator

MODEL = botocore.session.get_session().get_service_model("grafana")
VALIDATOR = ParamValidator()
NEWEST_VERSION = "10.4"


class Refused(Exception):
    """An error as AWS words it."""

    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code = status, code


class Workspaces:
    """The workspaces of one account and Region."""

    def __init__(self, region):
        self.region = region
        self.workspaces = {}
        self.made_with = {}

    def CreateWorkspace(self, request):
        """A clientToken that was seen before makes no second workspace: an SDK repeats a call with its token."""
        token = request.get("clientToken")
        if token not in self.made_with:
            made = self.make_workspace(request)
            if token is None:
                return made
            self.made_with[token] = made
        return self.made_with[token]

    def make_workspace(self, request):
        now = time.time()
        workspace_id = f"g-{secrets.token_hex(5)}"
        workspace = {
            "id": workspace_id,
            "status": "ACTIVE",
            "created": now,
            "modified": now,
            "endpoint": f"{workspace_id}.grafana-workspace.{self.region}.amazonaws.com",
            "grafanaVersion": request.get("grafanaVersion", NEWEST_VERSION),
            "accountAccessType": request["accountAccessType"],
            "permissionType": request["permissionType"],
            "authentication": {"providers": request["authenticationProviders"]},
            "dataSources": request.get("workspaceDataSources", []),
            "tags": request.get("tags", {}),
        }
        echoed = {
            "workspaceName": "name",
            "workspaceDescription": "description",
            "workspaceRoleArn": "workspaceRoleArn",
            "workspaceNotificationDestinations": "notificationDestinations",
            "workspaceOrganizationalUnits": "organizationalUnits",
            "organizationRoleName": "organizationRoleName",
            "stackSetName": "stackSetName",
            "vpcConfiguration": "vpcConfiguration",
            "networkAccessControl": "networkAccessControl",
        }
        workspace |= {there: request[here] for here, there in echoed.items() if here in request}
        self.workspaces[workspace_id] = {"workspace": workspace, "configuration": request.get("configuration", "{}")}
        return {"workspace": workspace}

    def DescribeWorkspace(self, request):
        return {"workspace": self.found(request)["workspace"]}

    def DescribeWorkspaceConfiguration(self, request):
        found = self.found(request)
        return {"configuration": found["configuration"], "grafanaVersion": found["workspace"]["grafanaVersion"]}

    def UpdateWorkspaceConfiguration(self, request):
        self.found(request)["configuration"] = request["configuration"]
        return {}

    def DeleteWorkspace(self, request):
        workspace = self.workspaces.pop(self.found(request)["workspace"]["id"])["workspace"]
        return {"workspace": workspace | {"status": "DELETING"}}

    def ListWorkspaces(self, request):
        summary = MODEL.shape_for("WorkspaceSummary").members
        return {
            "workspaces": [
                {key: value for key, value in found["workspace"].items() if key in summary}
                for found in self.workspaces.values()
            ]
        }

    def ListTagsForResource(self, request):
        return {"tags": self.tagged(request)["tags"]}

    def TagResource(self, request):
        self.tagged(request)["tags"].update(request["tags"])
        return {}

    def UntagResource(self, request):
        for key in request["tagKeys"]:
            self.tagged(request)["tags"].pop(key, None)
        return {}

    def found(self, request):
        if request["workspaceId"] not in self.workspaces:
            raise Refused(404, "ResourceNotFoundException", f"Workspace {request['workspaceId']} not found.")
        return self.workspaces[request["workspaceId"]]

    def tagged(self, request):
        return self.found({"workspaceId": request["resourceArn"].rsplit("/", 1)[-1]})["workspace"]


def routes():
    """Method, path pattern and operation of every operation that is served."""
    for name in MODEL.operation_names:
        if hasattr(Workspaces, name):
            operation = MODEL.operation_model(name)
            path = re.sub(r"\\\{(\w+)\\?\}", r"(?P<\1>.+)" if "Arn" in operation.http["requestUri"] else r"(?P<\1>[^/]+)",
                          re.escape(operation.http["requestUri"]))
            yield operation.http["method"], re.compile(f"^{path}$"), operation


ROUTES = list(routes())


def request_of(operation, match, query, body):
    """The operation's input, gathered from path, query string and body as its model says."""
    given = dict(json.loads(body)) if body else {}
    for name, shape in operation.input_shape.members.items():
        place, wire = shape.serialization.get("location"), shape.serialization.get("name", name)
        if place == "uri":
            given[name] = unquote(match.group(wire))
        elif place == "querystring" and wire in query:
            given[name] = query[wire] if shape.type_name == "list" else query[wire][0]
    problems = [*VALIDATOR.validate(given, operation.input_shape).generate_report().splitlines(), *value_problems(given, operation.input_shape)]
    unknown = set(given) - set(operation.input_shape.members)
    problems += [f"Unknown parameter in input: {name}" for name in sorted(unknown)]
    if problems:
        raise Refused(400, "ValidationException", "; ".join(problems))
    return given


def value_problems(given, shape, path="input"):
    """Values outside their enumeration or pattern, which botocore's own validator leaves to the service."""
    if shape.type_name == "structure":
        for name, value in given.items():
            if name in shape.members:
                yield from value_problems(value, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for value in given:
            yield from value_problems(value, shape.member, path)
    elif shape.type_name == "string":
        pattern = shape.metadata.get("pattern")
        if shape.enum and given not in shape.enum:
            yield f"{path}: given {given!r}; allowed: {', '.join(shape.enum)}"
        elif pattern and not re.search(pattern, given):
            yield f"{path}: given {given!r}; must match {pattern}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    workspaces: Workspaces

    def handle_one(self):
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if url.path == "/health":
            return self.answer(200, {"status": "ok"})
        try:
            for method, pattern, operation in ROUTES:
                match = pattern.match(url.path)
                if method == self.command and match:
                    request = request_of(operation, match, parse_qs(url.query), body)
                    answer = getattr(self.workspaces, operation.name)(request)
                    return self.answer(operation.http.get("responseCode", 200), answer)
            raise Refused(501, "NotImplemented", f"The shim serves no {self.command} {url.path}.")
        except Refused as refused:
            return self.answer(refused.status, {"message": str(refused)}, {"x-amzn-ErrorType": refused.code})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one

    def answer(self, status, content, headers=None):
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    port, region = int(sys.argv[1]), sys.argv[2]
    Handler.workspaces = Workspaces(region)
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
