/*
 * What the packages hold in place of `@aws-sdk/credential-provider-node` (lib/lambda-bundle puts it there). Lambda hands a function
 * its role's credentials as environment variables (Lambda Developer Guide, "Defined runtime environment variables"); the SDK's
 * other ways to find some (profiles, SSO, STS, instance metadata) would be a quarter of a package and of the time to load it.
 */
export { fromEnv as defaultProvider } from "@aws-sdk/credential-provider-env";
