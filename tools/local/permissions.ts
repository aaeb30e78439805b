/** One action on one resource, by its name, that a function's role allows. */
export interface Grant {
  /** Name of the function. */
  readonly caller: string;
  /** Such as `dynamodb:GetItem`; may end in `*`. */
  readonly action: string;
  /** Name of a table, secret or alarm, `bucket/key`, or `*`. */
  readonly resource: string;
}

/** What the functions' roles allow. Whoever is no function, such as the operator, may do everything here. */
export class Permissions {
  constructor(
    private readonly callers: ReadonlySet<string>,
    private readonly grants: readonly Grant[],
  ) {}

  allow(caller: string, action: string, resource: string): boolean {
    return (
      !this.callers.has(caller) ||
      this.grants.some(
        (grant) => grant.caller === caller && covers(grant.action, action) && covers(grant.resource, resource),
      )
    );
  }
}

/** Who signed the request: functions run under their own name as access key. */
export function callerOf(authorization: string | undefined): string {
  return /Credential=([^/,]+)\//.exec(authorization ?? "")?.[1] ?? "";
}

function covers(pattern: string, value: string): boolean {
  return pattern.endsWith("*") ? value.startsWith(pattern.slice(0, -1)) : pattern === value;
}
