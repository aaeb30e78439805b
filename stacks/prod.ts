import type { Construct } from "constructs";
import type { Environment } from "../environments/environment";
import { SERVICE_NAMES } from "../environments/services";
import { bundleCloudFrontFunctions, bundleEdge } from "../lib/lambda-bundle";
import { Asset, ModularStack } from "../lib/terraform-modules";
import { bundleWaitingPage } from "../lib/waiting-page";
import { Cloudfront } from "../modules/cloudfront";
import { Ecr } from "../modules/ecr";
import { Route53 } from "../modules/route53";
import { Waf } from "../modules/waf";
import { declareAccountVariables, declareEdgeVariables } from "./account-variables";
import { CoreModules, ORIGIN_HEADER } from "./core-modules";
import { declareCoreOutputs, declareEdgeOutputs } from "./outputs";
import { configureTerraform, edgeProvider } from "./terraform-settings";

/** Where the operator publishes the list of events that have a waiting room, and the edge reads it. */
export const ACTIVE_EVENTS_KEY = "edge/active-events.json";

/** Production: the sixteen modules behind CloudFront, and the four of the edge. Source: Infra analysis §1-2. */
export class ProdStack extends ModularStack {
  constructor(scope: Construct, id: string, environment: Environment) {
    super(scope, id);
    const { prefix, region } = environment;
    const account = declareAccountVariables(this, environment);
    const edge = declareEdgeVariables(this);
    configureTerraform(this, environment, account.accountId);
    const usEast1 = edgeProvider(this, environment, account.accountId);

    const modules = new CoreModules(this, {
      environment,
      account,
      usEast1,
      albIngress: { cloudfrontPrefixListId: edge.cloudfrontPrefixListId },
      behindCloudfront: true,
    });
    const { iam, secrets, s3, alb, apiGatewayVwr, monitoring } = modules;

    const waf = new Waf(this, "waf", { prefix, accountId: account.accountId, usEast1, key: secrets.usEast1Key });

    const cloudfront = new Cloudfront(this, "cloudfront", {
      prefix,
      domainName: account.domainName,
      certificateArn: edge.cloudfrontCertificateArn,
      webAclArn: waf.webAclArn,
      alb,
      originHeader: { name: ORIGIN_HEADER, value: secrets.originHeader.value },
      frontendBucketRegionalDomainName: s3.frontendBucketRegionalDomainName,
      vwrApi: apiGatewayVwr,
      edgeBundle: bundleEdge({
        region,
        tokenSecretName: secrets.vwrTokenSecret.secretName,
        entryTokenSecretName: secrets.queueEntryTokenSecret.secretName,
        activeEvents: { bucket: s3.frontendBucketPhysicalName, key: ACTIVE_EVENTS_KEY },
      }),
      edgeRole: iam.lambdaEdgeRole,
      functions: bundleCloudFrontFunctions(),
      corsAllowedOrigins: environment.corsAllowedOrigins,
      ...(s3.logsBucket && { logsBucket: s3.logsBucket }),
      usEast1,
      key: secrets.key,
      usEast1Key: secrets.usEast1Key,
    });

    const route53 = new Route53(this, "route53", {
      domainName: account.domainName,
      createHostedZone: edge.createHostedZone,
      hostedZoneId: edge.hostedZoneId,
      cloudfrontDomainName: cloudfront.distributionDomainName,
      cloudfrontHostedZoneId: cloudfront.distributionHostedZoneId,
    });

    const ecr = new Ecr(this, "ecr", { repositories: SERVICE_NAMES });

    secrets.vwrTokenSecret.grantRead(iam.lambdaEdgeRole);
    secrets.queueEntryTokenSecret.grantRead(iam.lambdaEdgeRole);
    s3.grantReadObject(iam.lambdaEdgeRole, ACTIVE_EVENTS_KEY);
    s3.allowRead(cloudfront);
    s3.upload("waiting_page", {
      key: "vwr/index.html",
      content: new Asset(this, "waiting_page", { fileName: "index.html", content: bundleWaitingPage() }),
      contentType: "text/html; charset=utf-8",
      cacheControl: "public, max-age=300",
    });
    cloudfront.edgeAlarms.notify(monitoring.alarmTopicArn);
    cloudfront.alarms.notify(monitoring.usEast1AlarmTopicArn);
    waf.alarms.notify(monitoring.usEast1AlarmTopicArn);

    declareCoreOutputs(this, modules);
    declareEdgeOutputs(this, { cloudfront, waf, route53, ecr });
  }
}
