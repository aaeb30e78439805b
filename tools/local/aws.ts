import { randomUUID } from "node:crypto";
import { request as httpRequest } from "node:http";
import type { HttpAnswer, HttpHandler, HttpRequest } from "./http";
import { callerOf, type Permissions } from "./permissions";

interface SecretVersion {
  readonly id: string;
  readonly value: string;
}

/** Files of the buckets, by bucket and key. */
export class ObjectStore {
  private readonly objects = new Map<string, { body: Buffer; headers: Record<string, string> }>();

  put(bucket: string, key: string, body: Buffer, headers: Record<string, string>): void {
    this.objects.set(`${bucket}/${key}`, { body, headers });
  }

  get(bucket: string, key: string): { body: Buffer; headers: Record<string, string> } | undefined {
    return this.objects.get(`${bucket}/${key}`);
  }

  delete(bucket: string, key: string): void {
    this.objects.delete(`${bucket}/${key}`);
  }
}

/** Secrets with their current and previous version. */
export class SecretStore {
  private readonly versions = new Map<string, SecretVersion[]>();

  /** A new current version; the one before stays readable as the previous. */
  put(name: string, value: string): void {
    const kept = this.versions.get(name)?.slice(0, 1) ?? [];
    this.versions.set(name, [{ id: randomUUID(), value }, ...kept]);
  }

  get(name: string, stage: string): SecretVersion | undefined {
    return this.versions.get(name)?.[stage === "AWSPREVIOUS" ? 1 : 0];
  }
}

export type AlarmState = "OK" | "ALARM" | "INSUFFICIENT_DATA";

export interface AwsEndpointOptions {
  readonly objects: ObjectStore;
  readonly secrets: SecretStore;
  /** State of each alarm, by name. */
  readonly alarms: Map<string, AlarmState>;
  readonly permissions: Permissions;
  /** Where DynamoDB requests go on to. */
  readonly dynamodbPort: number;
}

/**
 * One address that answers as AWS does on the wire, for the calls that the functions and the operator's command make: Secrets
 * Manager (JSON 1.1), CloudWatch's alarms (JSON 1.0), S3 (REST, path style) and DynamoDB, which it hands on. Signatures are not
 * checked; what a function's role does not allow is refused.
 */
export function createAwsEndpoint(options: AwsEndpointOptions): HttpHandler {
  return async (request) => {
    const target = request.headers["x-amz-target"] ?? "";
    if (target.startsWith("DynamoDB_")) {
      return handOn(request, options.dynamodbPort);
    }
    const [service, operation = ""] = target.split(".");
    if (target === "secretsmanager.GetSecretValue") {
      const { SecretId } = JSON.parse(request.body.toString()) as { SecretId: string };
      return (
        refused(options, request, "secretsmanager:GetSecretValue", SecretId) ?? getSecretValue(options.secrets, request)
      );
    }
    if (service === CLOUDWATCH) {
      return cloudwatch(options, operation, request);
    }
    if (target !== "") {
      return unsupported(target);
    }
    const object = request.path.slice(1);
    const action = request.method === "PUT" ? "s3:PutObject" : "s3:GetObject";
    return refused(options, request, action, object) ?? s3(options.objects, request);
  };
}

const CLOUDWATCH = "GraniteServiceVersion20100801";

/** DescribeAlarms for the advancer, SetAlarmState for who wants to see what it does. */
function cloudwatch(options: AwsEndpointOptions, operation: string, request: HttpRequest): HttpAnswer {
  const { alarms } = options;
  const input = JSON.parse(request.body.toString()) as {
    AlarmNames?: string[];
    AlarmName?: string;
    StateValue?: AlarmState;
  };
  if (operation === "DescribeAlarms") {
    const names = (input.AlarmNames ?? [...alarms.keys()]).filter((name) => alarms.has(name));
    const denied = names.map((name) => refused(options, request, "cloudwatch:DescribeAlarms", name)).find(Boolean);
    const MetricAlarms = names.map((AlarmName) => ({ AlarmName, StateValue: alarms.get(AlarmName) }));
    return denied ?? awsJson(200, { MetricAlarms });
  }
  if (operation === "SetAlarmState" && input.AlarmName !== undefined && input.StateValue !== undefined) {
    const denied = refused(options, request, "cloudwatch:SetAlarmState", input.AlarmName);
    if (denied === undefined) {
      alarms.set(input.AlarmName, input.StateValue);
    }
    return denied ?? awsJson(200, {});
  }
  return unsupported(`${CLOUDWATCH}.${operation}`);
}

/** The refusal, if the caller's role does not allow the action on what has this name. */
function refused(
  { permissions }: AwsEndpointOptions,
  { headers }: HttpRequest,
  action: string,
  name: string,
): HttpAnswer | undefined {
  const caller = callerOf(headers.authorization);
  if (permissions.allow(caller, action, name)) {
    return undefined;
  }
  const message = `${caller} is not authorized to perform: ${action} on resource: ${name}`;
  return action.startsWith("s3:")
    ? s3Error(403, "AccessDenied", message)
    : awsJson(400, { __type: "AccessDeniedException", message });
}

function getSecretValue(secrets: SecretStore, { body }: HttpRequest): HttpAnswer {
  const input = JSON.parse(body.toString()) as { SecretId: string; VersionStage?: string };
  const stage = input.VersionStage ?? "AWSCURRENT";
  const version = secrets.get(input.SecretId, stage);
  if (version === undefined) {
    const Message = `Secrets Manager can't find the specified secret value for staging label: ${stage}`;
    return awsJson(400, { __type: "ResourceNotFoundException", Message });
  }
  return awsJson(200, {
    Name: input.SecretId,
    VersionId: version.id,
    SecretString: version.value,
    VersionStages: [stage],
  });
}

function s3(objects: ObjectStore, { method, path, headers, body }: HttpRequest): HttpAnswer {
  const [bucket = "", ...rest] = path.slice(1).split("/");
  const key = rest.map(decodeURIComponent).join("/");
  if (method === "PUT") {
    objects.put(bucket, key, unchunked(body, headers), {
      "content-type": headers["content-type"] ?? "application/octet-stream",
      ...(headers["cache-control"] === undefined ? {} : { "cache-control": headers["cache-control"] }),
    });
    return { status: 200, headers: { etag: `"${randomUUID()}"` }, body: "" };
  }
  const found = objects.get(bucket, key);
  if (found === undefined) {
    return s3Error(404, "NoSuchKey", "The specified key does not exist.");
  }
  return { status: 200, headers: { ...found.headers, etag: '"local"' }, body: method === "HEAD" ? "" : found.body };
}

/** The SDK may send a body in signed chunks: `<size in hex>[;signature]\r\n<bytes>\r\n`, the last of size 0. */
function unchunked(body: Buffer, headers: HttpRequest["headers"]): Buffer {
  if (!(headers["content-encoding"] ?? "").includes("aws-chunked")) {
    return body;
  }
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length; ) {
    const end = body.indexOf("\r\n", at);
    const size = Number.parseInt(body.toString("latin1", at, end), 16);
    if (!(size > 0)) {
      break;
    }
    parts.push(body.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
  return Buffer.concat(parts);
}

/** S3 as the origin of CloudFront: what is not there is forbidden, since nobody may list the bucket. */
export function createBucketOrigin(objects: ObjectStore, bucket: string): HttpHandler {
  return async ({ path }) => {
    const found = objects.get(bucket, decodeURIComponent(path.slice(1)));
    return found === undefined
      ? s3Error(403, "AccessDenied", "Access Denied")
      : { status: 200, headers: found.headers, body: found.body };
  };
}

function s3Error(status: number, code: string, message: string): HttpAnswer {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return { status, headers: { "content-type": "application/xml" }, body };
}

function awsJson(status: number, body: unknown): HttpAnswer {
  return { status, headers: { "content-type": "application/x-amz-json-1.1" }, body: JSON.stringify(body) };
}

function unsupported(target: string): HttpAnswer {
  return awsJson(400, { __type: "UnsupportedOperation", message: `${target} is not part of the local run.` });
}

function handOn({ method, path, headers, body }: HttpRequest, port: number): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const onward = httpRequest({ host: "127.0.0.1", port, method, path, headers }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk));
      answer.on("end", () =>
        resolve({
          status: answer.statusCode ?? 500,
          headers: { "content-type": answer.headers["content-type"] ?? "application/x-amz-json-1.0" },
          body: Buffer.concat(chunks),
        }),
      );
    });
    onward.on("error", reject);
    onward.end(body);
  });
}
