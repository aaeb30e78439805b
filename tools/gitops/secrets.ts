import { PLATFORM } from "../../environments/gitops";
import { DATABASES } from "../../environments/services";
import { databaseSecretName, REDIS_SECRET, usedSharedSecrets } from "./configuration";
import { SUPERUSER_SECRET } from "./local-stores";
import type { Manifest } from "./manifest";
import { awsOf, type Overlay } from "./overlay";

/** Name of the generator of passwords, where there is no Secrets Manager to read from. */
const PASSWORD_GENERATOR = "password";
const REFRESH_INTERVAL = "1h0m0s";
const PASSWORD_LENGTH = 48;

/** A secret of the namespace, and what it is made of: keys with fixed values, and keys with secret ones. */
export interface SecretShape {
  readonly name: string;
  /** Name behind the prefix in Secrets Manager. */
  readonly remoteName: string;
  /** Keys whose values are secret; each is a property of the same name in Secrets Manager. */
  readonly secretKeys: readonly string[];
  /** Keys whose values are known. */
  readonly knownValues: Readonly<Record<string, string>>;
}

/** Secrets that the services of an overlay read. */
export function secretShapes(overlay: Overlay): SecretShape[] {
  return [
    ...DATABASES.map(({ user }) => ({
      name: databaseSecretName(user),
      remoteName: `db-credentials/${user}`,
      secretKeys: ["password"],
      knownValues: { username: user },
    })),
    ...(awsOf(overlay)
      ? [{ name: REDIS_SECRET, remoteName: "redis-auth-token", secretKeys: ["token"], knownValues: {} }]
      : [{ name: SUPERUSER_SECRET, remoteName: SUPERUSER_SECRET, secretKeys: ["password"], knownValues: {} }]),
    ...usedSharedSecrets().map((name) => ({ name, remoteName: name, secretKeys: ["secret"], knownValues: {} })),
  ];
}

/** Secrets that come from Secrets Manager: Git names them and holds none. Source: Infra analysis §2-12 (instead of §3-3's files). */
export function externalSecrets(overlay: Overlay): Manifest[] {
  const aws = awsOf(overlay);
  if (!aws) return [];
  return secretShapes(overlay).map(({ knownValues, name, remoteName, secretKeys }) =>
    externalSecret(name, {
      secretStoreRef: { kind: "ClusterSecretStore", name: PLATFORM.secretStore },
      target: { name, creationPolicy: "Owner", deletionPolicy: "Retain" },
      // Defaults are written out: Argo CD compares with what the API server made of it.
      data: [...Object.keys(knownValues), ...secretKeys].map((key) => ({
        secretKey: key,
        remoteRef: {
          key: `${aws.prefix}/${remoteName}`,
          property: key,
          conversionStrategy: "Default",
          decodingStrategy: "None",
          metadataPolicy: "None",
        },
      })),
    }),
  );
}

/** Secrets that are made up in the cluster, once: nothing outside the namespace knows them. */
export function generatedSecrets(overlay: Overlay): Manifest[] {
  const generator: Manifest = {
    apiVersion: "generators.external-secrets.io/v1alpha1",
    kind: "Password",
    metadata: { name: PASSWORD_GENERATOR },
    spec: { length: PASSWORD_LENGTH, digits: 12, symbols: 0, noUpper: false, allowRepeat: true, encoding: "raw" },
  };
  return [
    generator,
    ...secretShapes(overlay).map(({ knownValues, name, secretKeys }) =>
      externalSecret(name, {
        // A database keeps the password that it was made with.
        refreshPolicy: "CreatedOnce",
        target: {
          name,
          creationPolicy: "Owner",
          deletionPolicy: "Retain",
          template: {
            engineVersion: "v2",
            mergePolicy: "Replace",
            data: {
              ...knownValues,
              ...Object.fromEntries(secretKeys.map((key) => [key, "{{ .password }}"])),
            },
          },
        },
        dataFrom: [
          {
            sourceRef: {
              generatorRef: {
                apiVersion: "generators.external-secrets.io/v1alpha1",
                kind: "Password",
                name: PASSWORD_GENERATOR,
              },
            },
          },
        ],
      }),
    ),
  ];
}

function externalSecret(name: string, spec: Readonly<Record<string, unknown>>): Manifest {
  return {
    apiVersion: "external-secrets.io/v1",
    kind: "ExternalSecret",
    metadata: { name },
    spec: { refreshInterval: REFRESH_INTERVAL, ...spec },
  };
}
