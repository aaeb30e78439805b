import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  outlineOf,
  Redactor,
  readMemory,
  renderComment,
  renderFailure,
  reportOf,
  toAnsi,
  unpackMemory,
} from "../../../tools/plan-comments/render/index";
import type { Json, JsonObject } from "../../../tools/plan-comments/render/plan";
import { looksRandom } from "../../../tools/plan-comments/render/redact";
import { change, planOf, rendered, resource } from "./fixture";
import { problemsOf } from "./markdown-check";

/** Every form in which a plan leaves this tool. */
const outputsOf = (resources: readonly JsonObject[], more: JsonObject = {}, log = false): string => {
  const plan = planOf(resources, more);
  const redactor = Redactor.forPlans([plan]);
  const report = reportOf("prod", plan, redactor);
  const result = renderComment(report, redactor, {
    sibling: outlineOf(reportOf("staging", plan, redactor)),
    previous: { changes: new Map() },
  });
  return [
    ...result.bodies,
    result.full,
    toAnsi(result.full),
    ...(log ? [renderFailure("prod", "plan", JSON.stringify(resources), redactor)] : []),
  ].join("\n");
};

/** Secrets as people choose and generators make them; at least six characters, which is what can be hunted in text. */
const secret = fc.oneof(
  fc.stringMatching(/^[A-Za-z0-9!#$%&*+=?^_~-]{8,40}$/),
  fc.string({ minLength: 8, maxLength: 30, unit: "grapheme" }).filter((text) => text.trim().length >= 8),
  fc
    .tuple(fc.stringMatching(/^[a-z]{4,9}$/), fc.stringMatching(/^[a-z]{4,9}$/), fc.nat(9999))
    .map((parts) => parts.join("-")),
  fc.constantFrom(
    "pa|ss`wo`rd",
    "</details>secret",
    "```\nleak\n```",
    "line one of it\nline two of it",
    '"quoted\\secret"',
  ),
);

const leaks = (output: string, value: string): boolean => {
  const forms = [value, JSON.stringify(value).slice(1, -1), encodeURIComponent(value)];
  return forms.some((form) => output.includes(form));
};

describe("redaction", () => {
  it("finds each of many known secrets in a text, at its ends, side by side and one within another", () => {
    // A small alphabet, so that parts of secrets stand everywhere, between runs of which none could be part of one.
    const word = fc.string({ minLength: 6, maxLength: 40, unit: fc.constantFrom("a", "b", "c", "é", "1") });
    const filler = fc.string({ maxLength: 40, unit: fc.constantFrom("x", "y", "-", "a") });
    fc.assert(
      fc.property(
        fc.array(word, { minLength: 1, maxLength: 60 }),
        fc.array(filler, { minLength: 60, maxLength: 60 }),
        fc.infiniteStream(fc.nat(3)),
        (secrets, fillers, turns) => {
          const text = secrets
            .flatMap((one, index) => [turns.next().value === 0 ? "" : (fillers[index] ?? ""), one])
            .join("");
          const scrubbed = new Redactor(secrets).scrub(text);
          // Whatever is part of any secret is hidden, and nothing else.
          const hidden = new Set<number>();
          for (const one of secrets)
            for (let at = text.indexOf(one); at >= 0; at = text.indexOf(one, at + 1))
              for (let index = 0; index < one.length; index++) hidden.add(at + index);
          const expected = [...text].map((unit, index) => (hidden.has(index) ? "\0" : unit)).join("");
          expect(scrubbed.replaceAll(/(?:\(sensitive\))+/g, "\0")).toBe(expected.replaceAll(/\0+/g, "\0"));
          const harmless = text.replaceAll(/[abc1é]/g, "z");
          expect(new Redactor(secrets).scrub(harmless)).toBe(harmless);
        },
      ),
      { numRuns: 500 },
    );
  });

  const written = "p<a&b>c99?secret~~~ÿ";
  it.each([
    ["by jsonencode", `{"password":"p\\u003ca\\u0026b\\u003ec99?secret~~~ÿ"}`, /^\{"password":"\(sensitive\)"\}$/],
    ["as base64 for addresses", Buffer.from(written).toString("base64url"), /^\(sensitive\)$/],
    // Characters that hold bits of a neighbour stay.
    ["as base64 behind a name", Buffer.from(`u:${written}`).toString("base64"), /^.{3}\(sensitive\).?=*$/],
    ["as base64 behind another", Buffer.from(`usr:${written}`).toString("base64"), /^.{6}\(sensitive\).?=*$/],
    ["as base64 before a line's end", Buffer.from(`${written}\n`).toString("base64"), /^\(sensitive\).{0,3}=*$/],
    ["with other line ends", `begin\r\n${written}\r\nend`, /^\(sensitive\)$/],
  ])("hides a secret written %s", (_, text, left) => {
    expect(new Redactor([written, `begin\n${written}\nend`]).scrub(text)).toMatch(left);
  });

  it("never shows a value that Terraform marks sensitive, nor the same value elsewhere in the plan", () => {
    fc.assert(
      fc.property(secret, secret, (old, fresh) => {
        fc.pre(
          !"terraform_data.holder module.lambda aws_lambda_function sensitive changed create update".includes(old),
        );
        const output = outputsOf(
          [
            resource(
              "terraform_data.holder",
              change(
                ["update"],
                { input: { a: old } },
                { input: { a: fresh } },
                { before_sensitive: { input: { a: true } }, after_sensitive: { input: { a: true } } },
              ),
            ),
            resource(
              "module.lambda.aws_lambda_function.f",
              change(
                ["update"],
                { environment: [{ variables: { DSN: `db=${old};x` } }], description: old },
                {
                  environment: [{ variables: { DSN: `db=${fresh};x` } }],
                  description: `now ${fresh}`,
                  policy: JSON.stringify({ Statement: [{ Action: fresh }] }),
                },
              ),
            ),
            resource("terraform_data.list", change(["create"], null, { input: [fresh, { [fresh]: fresh }] })),
          ],
          {
            output_changes: { o: change(["update"], `x ${old}`, `x ${fresh}`) },
            checks: [
              {
                address: { to_display: "check.c" },
                status: "fail",
                instances: [{ problems: [{ message: `got ${fresh}` }] }],
              },
            ],
          },
          true,
        );
        for (const value of [old, fresh]) if (leaks(output, value)) throw new Error(`leaked ${JSON.stringify(value)}`);
      }),
      { numRuns: 100 },
    );
  });

  it("hides values under names of secrets, marked or not, in maps, lists of pairs and JSON texts", () => {
    const names = fc.constantFrom(
      "DB_PASSWORD",
      "api_key",
      "authToken",
      "client-secret",
      "PRIVATE_KEY",
      "SLACK_WEBHOOK",
      "REDIS_AUTH_TOKEN",
      "Passphrase",
      "jwtSecret",
      "PGPASS",
      "PIN",
    );
    fc.assert(
      fc.property(names, fc.stringMatching(/^[a-z]{5,8}Zq[a-z]{3,6}$/), (name, value) => {
        const shapes: readonly Json[] = [
          { [name]: value },
          { nested: [{ [name]: [value] }] },
          {
            environment: [
              { name, value },
              { key: name, value },
            ],
          },
          { container_definitions: JSON.stringify([{ environment: [{ name, value }], [name]: value }]) },
          { command: `run --x ${name}=${value} end` },
        ];
        const output = outputsOf(
          shapes.map((shape, index) => resource(`terraform_data.r${index}`, change(["create"], null, shape))),
        );
        expect(output).not.toContain(value);
      }),
      { numRuns: 100 },
    );
  });

  it.each([
    ["an AWS key", "AKIAIOSFODNN7EXAMPLE"],
    ["a GitHub token", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"],
    ["a JSON web token", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijk"],
    ["a Slack webhook", "https://hooks.slack.com/services/T000/B000/XXXX"],
    ["a private key", "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"],
    ["a random key", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"],
    ["hexadecimal", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"],
    ["a UUID under an innocent name", "123e4567-e89b-12d3-a456-426614174000"],
    ["credentials in an address", "redis://default:hunter22@cache:6379"],
    ["a bearer header", "Authorization: Bearer abcdef.ghijkl"],
  ])("hides %s by its look", (_, value) => {
    const output = outputsOf([
      resource("terraform_data.r", change(["create"], null, { input: `before ${value} after`, note: value })),
    ]);
    expect(output).not.toContain(value);
    for (const part of value.match(/[A-Za-z0-9]{16,}|hunter22/g) ?? []) expect(output).not.toContain(part);
  });

  it.each([
    "arn:aws:dynamodb:ap-northeast-2:123456789012:table/urr-prod-vwr-counters",
    "urr-prod-vwr-counter-advancer-execution-role",
    "AmazonEKS_CNI_Policy",
    "AWSLambdaVPCAccessExecutionRole",
    "CloudWatchLambdaInsightsExecutionRolePolicy",
    "shared_preload_libraries,pg_stat_statements",
    "vpc-0123456789abcdef0",
    "com.amazonaws.ap-northeast-2.secretsmanager",
    "2026-11-20T02:00:00Z",
    "urr-prod/queue-entry-token-secret",
    "reservation-events,transfer-events,membership-events",
  ])("shows the plain name %s", (name) => {
    expect(outputsOf([resource("terraform_data.r", change(["create"], null, { input: name }))])).toContain(name);
  });

  it("hides a secret in every corner of a plan: keys of for_each, moves, imports, unknown marks, drift, states, reasons and logs", () => {
    const secrets = fc.oneof(
      fc.stringMatching(/^[a-z]{4,6}Zq[0-9]{2}[a-z]{2,4}$/),
      fc.constantFrom("AKIAIOSFODNN7EXAMPLE", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
    );
    fc.assert(
      fc.property(secrets, (value) => {
        const key = JSON.stringify(value);
        const marked = { before_sensitive: { v: true }, after_sensitive: { v: true } };
        const resources = [
          resource("terraform_data.holder", change(["update"], { v: value }, { v: `${value}!` }, marked)),
          resource(`aws_iam_user.u[${key}]`, change(["delete"], { name: value }, null)),
          resource(`aws_iam_user.v[${key}]`, change(["create"], null, { name: value })),
          resource(`aws_db_instance.d[${key}]`, change(["delete"], { x: 1 }, null)),
          resource(`aws_x.moved[${key}]`, change(["no-op"], {}, {}), { previous_address: `aws_x.old[${key}]` }),
          resource("aws_x.imported", change(["no-op"], {}, {}, { importing: { id: `arn:x/${value}` } })),
          resource(
            "terraform_data.replaced",
            change(["delete", "create"], { m: {} }, { m: {} }, { replace_paths: [["m", value]] }),
            { action_reason: "replace_because_cannot_update" },
          ),
          resource(
            "aws_x.unknown",
            change(["update"], { tags: {} }, { tags: {} }, { after_unknown: { tags: { [value]: true } } }),
          ),
          resource(
            "aws_launch_template.t",
            change(["create"], null, {
              user_data: Buffer.from(`export P=${value}`).toString("base64"),
              description: Buffer.from(value).toString("base64"),
            }),
          ),
          resource(
            `aws_security_group.g[${key}]`,
            change(["create"], null, {
              id: "sg-1",
              ingress: [{ cidr_blocks: [value], from_port: 1, to_port: 1, protocol: "tcp" }],
            }),
          ),
          resource(
            "aws_vpc_security_group_ingress_rule.r",
            change(["create"], null, {
              security_group_id: "sg-1",
              cidr_ipv4: "10.0.0.0/8",
              ip_protocol: "tcp",
              from_port: 1,
              to_port: 1,
            }),
          ),
        ];
        const plan = planOf(resources, {
          errored: true,
          resource_drift: [resource(`aws_x.drifted[${key}]`, change(["update"], { a: "b" }, { a: `c${value}` }))],
          deferred_changes: [
            { reason: "unknown", resource_change: resource(`aws_x.late[${key}]`, change(["create"], null, {})) },
          ],
          checks: [{ address: { to_display: `check.c[${key}]` }, status: "fail", instances: [] }],
        });
        const { bodies, full } = rendered(plan, { errorText: `Error: failed with ${value}\n  on x ${key}` });
        const memory = unpackMemory(readMemory(bodies[0] ?? "") ?? "");
        const texts = [...bodies, full, JSON.stringify([...(memory?.changes.keys() ?? [])])];
        for (const text of texts) if (leaks(text, value)) throw new Error(`leaked ${value}:\n${text}`);
        expect(full).toContain("Error: failed with");
        expect(memory?.changes.size).toBeGreaterThan(0);
      }),
      { numRuns: 40 },
    );
  });

  it("hides a block that is marked as a whole, and what it holds as values, without hunting for its names elsewhere", () => {
    const origin = { origin_id: "vwr-api", custom_header: [{ name: "X-Origin", value: "hunter-two" }] };
    const { full } = rendered(
      planOf([
        resource(
          "aws_cloudfront_distribution.main",
          change(["create"], null, { origin: [origin] }, { after_sensitive: { origin: true } }),
        ),
        resource(
          "aws_lambda_function.api",
          change(["create"], null, { function_name: "urr-prod-vwr-api", description: "sends hunter-two" }),
        ),
      ]),
    );
    expect(full).toContain("origin: (sensitive)");
    expect(full).toContain('function_name: "urr-prod-vwr-api"');
    expect(full).not.toContain("hunter-two");
  });

  it("fails closed: without marks, or with marks of another shape, nothing is shown", () => {
    const values = { name: "visible-name", tags: { Name: "visible-tag" } };
    const withoutMarks = { actions: ["update"], before: values, after: { name: "other-name", tags: {} } };
    expect(outputsOf([resource("aws_thing.a", withoutMarks)])).not.toMatch(/visible-|other-name/);
    for (const marks of ["yes", 1, [true], true] as Json[]) {
      const changed = change(["create"], null, values, { after_sensitive: marks });
      expect(outputsOf([resource("aws_thing.a", changed)])).not.toMatch(/visible-/);
    }
  });

  it("keeps a value hidden whose mark the change takes away", () => {
    const changed = change(["update"], { v: "abc" }, { v: "abc", w: 1 }, { before_sensitive: { v: true } });
    expect(outputsOf([resource("terraform_data.r", changed)])).not.toContain("abc");
  });

  it("says that a hidden value changed, but shows nothing of it", () => {
    const changed = change(["update"], { password: "first-one" }, { password: "second-one" });
    expect(outputsOf([resource("aws_db_instance.r", changed)])).toContain("! password: (sensitive) → (changed)");
  });

  it("leaves facts about secrets readable", () => {
    const facts = {
      password_length: 32,
      secret_name: "urr-prod/jwt",
      token_ttl: 3600,
      manage_master_user_password: true,
      secret_arn: "arn:aws:secretsmanager:x",
    };
    const output = outputsOf([resource("aws_thing.a", change(["create"], null, facts))]);
    for (const line of [
      "password_length: 32",
      'secret_name: "urr-prod/jwt"',
      "token_ttl: 3600",
      "manage_master_user_password: true",
    ]) {
      expect(output).toContain(line);
    }
  });

  it("tells random text from words", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 24, maxLength: 48 }), (bytes) => {
        fc.pre(new Set(bytes).size > 16);
        expect(looksRandom(Buffer.from(bytes).toString("base64").replace(/=+$/, "").replace(/[+/]/g, "x"))).toBe(true);
      }),
      { numRuns: 300, seed: 1 },
    );
  });

  it("does not put hidden values into the memory of a comment", () => {
    const one = (value: string) =>
      rendered(
        planOf([
          resource("terraform_data.r", change(["create"], null, { v: value }, { after_sensitive: { v: true } })),
        ]),
      ).bodies[0];
    expect(one("first-secret")).toBe(one("other-secret"));
  });
});

describe("content from outside", { timeout: 300_000 }, () => {
  const nasty = fc.oneof(
    fc.constantFrom(
      "```",
      "````diff",
      "</details>",
      "</code>",
      "<img src=x onerror=1>",
      "| a | b |\n|--|--|",
      "# heading",
      "\n\n## heading\n\n",
      "> quote",
      "[x](http://evil.example)",
      "@urr/admins",
      "#1",
      "http://evil.example",
      "www.evil.example",
      "<!-- urr-plan stack=prod part=1 -->",
      "-->",
      "\u202egnp.exe",
      "\u0000\u001b[31m",
      "a\rb",
      "$x$",
      "**b**",
      "~~~",
      "\\|",
      "`|`",
      "\\`",
      "&lt;b&gt;",
      "\u2028",
      "\ud800",
      "x@example.com",
      "</summary>",
      "GH-12",
      "_a_",
      "- [ ] x",
      "[^1]: note",
      "![i](x)",
      "&#64;team",
    ),
    fc.string({ maxLength: 40, unit: "binary" }),
  );
  const text = fc.array(nasty, { minLength: 1, maxLength: 4 }).map((parts) => parts.join(""));

  it("never escapes a fence, a table, a fold or a code span, and never mentions or links", () => {
    fc.assert(
      fc.property(text, text, text, (a, b, key) => {
        const policy = JSON.stringify({
          Statement: [{ Effect: "Allow", Principal: a, Action: [b], Resource: key, Condition: { [key]: a } }],
        });
        const quoted = JSON.stringify(key);
        const plan = planOf(
          [
            resource(
              `module.m.aws_iam_role.r[${quoted}]`,
              change(["update"], { [key]: a, name: a, list: [a, b] }, { [key]: b, name: b, list: [b], policy }),
              { action_reason: a },
            ),
            resource(`module.m.aws_x.gone[${quoted}]`, change(["delete"], { name: a, tags: { [key]: b } }, null), {
              action_reason: b,
              deposed: "abcd",
            }),
            resource(
              `aws_lambda_function.f[${quoted}]`,
              change(["create"], null, { function_name: a, filename: b, source_code_hash: "x" }),
            ),
            resource(
              `aws_security_group_rule.s[${quoted}]`,
              change(["create"], null, {
                type: "ingress",
                cidr_blocks: [a],
                security_group_id: b,
                protocol: key,
                from_port: 1,
                to_port: 2,
              }),
            ),
            resource(`aws_x.moved[${quoted}]`, change(["no-op"], { name: a }, { name: a }), {
              previous_address: `aws_x.old[${quoted}]`,
            }),
            resource(
              `aws_x.imported[${quoted}]`,
              change(["no-op"], { name: a }, { name: a }, { importing: { id: a } }),
            ),
            resource(`aws_x.odd[${quoted}]`, change([a || "odd", b], { name: a }, { name: b })),
            resource(`aws_y.a[${quoted}]`, change(["delete"], { n: "same", m: 3, o: a }, null)),
            resource(`aws_y.b[${quoted}]`, change(["create"], null, { n: "same", m: 3, o: a })),
            resource("aws_nat_gateway.n", change(["create"], null, { tags: { [key]: a } })),
          ],
          {
            output_changes: { [key || "k"]: change(["update"], a, b) },
            resource_drift: [resource(`aws_x.drift[${quoted}]`, change(["update"], { [key]: a }, { [key]: b }))],
            checks: [{ address: { to_display: key }, status: "fail", instances: [{ problems: [{ message: a }] }] }],
            deferred_changes: [
              { reason: b, resource_change: resource(`aws_x.later[${quoted}]`, change(["create"], null, { name: a })) },
            ],
            terraform_version: a,
            timestamp: b,
            future_section: [a],
          },
        );
        const { bodies, full } = rendered(plan, {
          head: "0123456789",
          changingDependencies: [a],
          previous: { changes: new Map([[b, { kind: "create", digest: "x" }]]) },
        });
        for (const output of [...bodies, full]) expect(problemsOf(output)).toEqual([]);
        expect(problemsOf(renderFailure("prod", a, b, new Redactor()))).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });

  it("writes unseen characters out", () => {
    const { full } = rendered(
      planOf([resource("aws_x.a", change(["create"], null, { name: "safe\u202egpj.exe\u200b" }))]),
    );
    expect(full).toContain('name: "safe\\u{202e}gpj.exe\\u{200b}"');
  });

  it("fails on a stack name that could break the marker", () => {
    const plan = planOf([]);
    const redactor = new Redactor();
    expect(() => renderComment(reportOf("a --> b", plan, redactor), redactor)).toThrow(/stack name "a --> b": letters/);
  });
});
