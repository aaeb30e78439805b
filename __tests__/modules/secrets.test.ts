import { describe, expect, it } from "vitest";
import { DATABASES } from "../../environments/services";
import { RDS_PASSWORD_SPECIALS, Secrets, type SecretsProps } from "../../modules/secrets";
import { ACCOUNT_ID, REGION, resourcesOf, synthModule, synthProblems, type TestStack } from "../support/synth";

function build(stack: TestStack, props: Partial<SecretsProps> = {}): Secrets {
  const secrets = new Secrets(stack, "secrets", {
    prefix: "urr-prod",
    accountId: ACCOUNT_ID,
    region: REGION,
    databases: DATABASES,
    ...props,
  });
  secrets.writeDatabaseCredentials({ endpointAddress: "primary.example", port: 5432, dbName: "ticket_db" });
  return secrets;
}

const synthesized = synthModule((stack) => {
  build(stack);
});

/** What is stored in a secret, with references in place of unknown values. */
function contentOf(name: string): unknown {
  return JSON.parse(
    String(resourcesOf(synthesized, "aws_secretsmanager_secret_version")[`secrets_${name}`]?.secret_string),
  );
}

describe("secrets", () => {
  /** Infra analysis §2-12, and the further secrets of the deviations table. */
  it.each([
    ["rds_credentials", "urr-prod/rds-credentials", 32, true],
    ["redis_auth_token", "urr-prod/redis-auth-token", 32, false],
    ["queue_entry_token_secret", "urr-prod/queue-entry-token-secret", 64, false],
    ["jwt_secret", "urr-prod/jwt-secret", 64, false],
    ["vwr_token_secret", "urr-prod/vwr-token-secret", 64, false],
    ["origin_header", "urr-prod/origin-header", 64, false],
    ["internal_api_token", "urr-prod/internal-api-token", 64, false],
    ["ticket", "urr-prod/db-credentials/ticket", 32, true],
    ["auth", "urr-prod/db-credentials/auth", 32, true],
    ["payment", "urr-prod/db-credentials/payment", 32, true],
    ["stats", "urr-prod/db-credentials/stats", 32, true],
    ["catalog", "urr-prod/db-credentials/catalog", 32, true],
    ["community", "urr-prod/db-credentials/community", 32, true],
  ])("keeps %s as %s, %d generated characters, specials: %s", (id, name, length, special) => {
    expect(resourcesOf(synthesized, "aws_secretsmanager_secret")[`secrets_${id}`]).toMatchObject({
      name,
      kms_key_id: "${aws_kms_key.secrets_main.arn}",
      recovery_window_in_days: 30,
    });
    expect(resourcesOf(synthesized, "random_password")[`secrets_${id}`]).toMatchObject({ length, special });
  });

  it("keeps nothing else", () => {
    expect(Object.keys(resourcesOf(synthesized, "aws_secretsmanager_secret"))).toHaveLength(13);
  });

  it("generates database passwords that RDS takes: no slash, at sign, quote or space", () => {
    expect(RDS_PASSWORD_SPECIALS).not.toMatch(/[/@" ]/);
    const specials = Object.entries(resourcesOf(synthesized, "random_password"))
      .filter(([, { special }]) => special !== false)
      .map(([name, { override_special }]) => [name.replace("secrets_", ""), override_special]);
    expect(Object.fromEntries(specials)).toEqual(
      Object.fromEntries(
        ["rds_credentials", ...DATABASES.map(({ user }) => user)].map((name) => [name, RDS_PASSWORD_SPECIALS]),
      ),
    );
  });

  it("stores credentials in the form that RDS and its proxy read", () => {
    expect(contentOf("rds_credentials")).toEqual({
      username: "urr_admin",
      password: "${random_password.secrets_rds_credentials.result}",
      engine: "postgres",
      host: "primary.example",
      port: 5432,
      dbname: "ticket_db",
    });
    expect(contentOf("catalog")).toMatchObject({ username: "catalog", dbname: "catalog_db" });
  });

  it("stores a Redis token as token and signing secrets as secret", () => {
    expect(contentOf("redis_auth_token")).toEqual({ token: "${random_password.secrets_redis_auth_token.result}" });
    expect(contentOf("vwr_token_secret")).toEqual({ secret: "${random_password.secrets_vwr_token_secret.result}" });
  });

  it("signs the two tiers with different secrets", () => {
    expect(contentOf("vwr_token_secret")).not.toEqual(contentOf("queue_entry_token_secret"));
  });

  it("rotates the key yearly and keeps it 30 days after its deletion", () => {
    expect(resourcesOf(synthesized, "aws_kms_key").secrets_main).toMatchObject({
      enable_key_rotation: true,
      deletion_window_in_days: 30,
    });
  });

  it("lets only this account's log groups use the key as CloudWatch Logs", () => {
    const policy = JSON.parse(String(resourcesOf(synthesized, "aws_kms_key").secrets_main?.policy)) as {
      Statement: { Principal: { Service?: string }; Condition?: unknown }[];
    };
    const logs = policy.Statement.find(({ Principal }) => Principal.Service === "logs.ap-northeast-2.amazonaws.com");
    expect(logs?.Condition).toEqual({
      ArnLike: { "kms:EncryptionContext:aws:logs:arn": "arn:aws:logs:ap-northeast-2:123456789012:*" },
    });
  });

  it("generates a new value where a rotation is asked for, and touches no other", () => {
    const rotated = synthModule((stack) => {
      build(stack, { rotations: { jwt_secret: 1 } });
    });
    const changed = Object.entries(resourcesOf(rotated, "random_password")).filter(
      ([name, password]) =>
        JSON.stringify(password) !== JSON.stringify(resourcesOf(synthesized, "random_password")[name]),
    );
    expect(changed.map(([name, { keepers }]) => [name, keepers])).toEqual([["secrets_jwt_secret", { rotation: "1" }]]);
  });

  it.each<[string, Partial<SecretsProps>, string]>([
    [
      "a recovery window AWS does not offer",
      { recoveryWindowDays: 3 },
      "recoveryWindowDays: given 3; allowed: 0, or 7 to 30 days",
    ],
    [
      "a rotation of a secret that does not exist",
      { rotations: { jwt: 1 } },
      'rotations: given "jwt"; allowed: rds_credentials',
    ],
  ])("fails on %s", (_, props, message) => {
    expect(
      synthProblems((stack) => {
        build(stack, props);
      }).join("\n"),
    ).toContain(message);
  });

  it("fails where nobody says where the databases listen", () => {
    const problems = synthProblems((stack) => {
      new Secrets(stack, "secrets", {
        prefix: "urr-prod",
        accountId: ACCOUNT_ID,
        region: REGION,
        databases: DATABASES,
      });
    });
    expect(problems).toEqual([expect.stringContaining("Call writeDatabaseCredentials(database) in the stack.")]);
  });
});
