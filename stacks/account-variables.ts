import { TerraformVariable } from "cdktf";
import type { Construct } from "constructs";
import type { Environment } from "../environments/environment";

/** CloudFront's origin-facing addresses in ap-northeast-2; the id is the same in every account and differs per Region. */
const CLOUDFRONT_PREFIX_LIST_AP_NORTHEAST_2 = "pl-22a6434b";

interface Validation {
  /** Terraform expression over `var.<name>`, without `${}`. */
  readonly condition: string;
  /** What is allowed and what to do, as a sentence. */
  readonly errorMessage: string;
}

/** What differs between AWS accounts in both environments. */
export type AccountVariables = ReturnType<typeof declareAccountVariables>;
/** What only production needs to know of its account. */
export type EdgeVariables = ReturnType<typeof declareEdgeVariables>;
/** What only staging needs to know of its account. */
export type StagingVariables = ReturnType<typeof declareStagingVariables>;

/**
 * Declares what differs between AWS accounts: known to whoever deploys, not to this repository. Synth needs none of it;
 * Terraform reads it from `environments/<env>.tfvars` and refuses what cannot work before it plans.
 */
export function declareAccountVariables(scope: Construct, environment: Environment) {
  const { eks, region } = environment;
  return {
    accountId: text(scope, "aws_account_id", {
      description: "AWS account to deploy to: twelve digits.",
      validations: [accountIdRule("aws_account_id")],
    }),
    domainName: text(scope, "domain_name", {
      description: "Domain of the site, without www: urr.guru in production.",
      validations: [
        {
          condition: 'can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\\\.)+[a-z]{2,}$", var.domain_name))',
          errorMessage: "domain_name must be a domain in lower case, such as urr.guru; it may not be empty.",
        },
      ],
    }),
    albCertificateArn: text(scope, "alb_certificate_arn", {
      description: `ARN of the load balancer's certificate, issued by ACM in ${region} for every name that visitors use: domain_name and, behind CloudFront, www.domain_name.`,
      validations: [certificateRule("alb_certificate_arn", region, "the load balancer's")],
    }),
    eksPublicAccessCidrs: list(scope, "eks_public_access_cidrs", {
      description: "IPv4 blocks that may reach the public endpoint of the Kubernetes API: office, VPN, CI runners.",
      validations: [
        cidrListRule("eks_public_access_cidrs"),
        ...(eks.publicAccessMayBeOpen
          ? []
          : [
              {
                condition: '!contains(var.eks_public_access_cidrs, "0.0.0.0/0")',
                errorMessage:
                  "eks_public_access_cidrs may not hold 0.0.0.0/0 in production; name the blocks of office, VPN and CI runners.",
              },
            ]),
      ],
    }),
    eksAdminPrincipalArns: list(scope, "eks_admin_principal_arns", {
      description: "IAM roles or users that administer the cluster: the platform team's role and the CI apply role.",
      validations: [
        {
          condition:
            'length(var.eks_admin_principal_arns) > 0 && alltrue([for arn in var.eks_admin_principal_arns : can(regex("^arn:aws:iam::[0-9]{12}:(role|user)/", arn))])',
          errorMessage:
            "eks_admin_principal_arns must list at least one IAM role or user ARN; without one nobody can administer the cluster.",
        },
      ],
    }),
    eksViewerPrincipalArns: list(scope, "eks_viewer_principal_arns", {
      description:
        "IAM roles that read the cluster, Secrets included: the CI plan role, urr-ci-plan-<environment>. Empty if nobody but administrators plans the platform stack.",
      defaultValue: [],
      validations: [
        {
          condition: `alltrue([for arn in var.eks_viewer_principal_arns : can(regex("^arn:aws:iam::[0-9]{12}:role/", arn))])`,
          errorMessage: "eks_viewer_principal_arns must list IAM role ARNs, or be empty.",
        },
        {
          condition: "length(setintersection(var.eks_viewer_principal_arns, var.eks_admin_principal_arns)) == 0",
          errorMessage:
            "eks_viewer_principal_arns may list none of eks_admin_principal_arns: EKS keeps one access entry per principal, and administrators read everything.",
        },
      ],
    }),
    alarmEmails: list(scope, "alarm_emails", {
      description: "E-mail addresses that alarms go to; each must confirm its subscription.",
      validations: [
        {
          condition:
            'length(var.alarm_emails) > 0 && alltrue([for address in var.alarm_emails : can(regex("^[^@[:space:]]+@[^@[:space:]]+[.][^@[:space:]]+$", address))])',
          errorMessage: "alarm_emails must list at least one e-mail address; an alarm that nobody receives is none.",
        },
      ],
    }),
    slackTeamId: text(scope, "slack_team_id", {
      description:
        "Slack workspace (T…) that alarms go to, authorised once in Amazon Q Developer in chat applications; empty for none.",
      defaultValue: "",
      validations: [
        {
          condition: 'can(regex("^(T[A-Z0-9]+)?$", var.slack_team_id))',
          errorMessage: "slack_team_id must be a workspace id such as T01ABCDEF23, or empty.",
        },
      ],
    }),
    slackChannelId: text(scope, "slack_channel_id", {
      description: "Slack channel (C…) that alarms go to; empty for none.",
      defaultValue: "",
      validations: [
        {
          condition:
            'can(regex("^([CG][A-Z0-9]+)?$", var.slack_channel_id)) && (var.slack_channel_id == "") == (var.slack_team_id == "")',
          errorMessage:
            "slack_channel_id must be a channel id such as C01ABCDEF23, given together with slack_team_id or not at all.",
        },
      ],
    }),
    ticketServiceUrl: text(scope, "ticket_service_url", {
      description:
        "Base URL of ticket-service's internal API; empty for the internal load balancer of this environment.",
      defaultValue: "",
      validations: [
        {
          condition: 'can(regex("^(https?://[^/]+)?$", var.ticket_service_url))',
          errorMessage:
            "ticket_service_url must be a base URL such as http://ticket.internal:3002 without a path, or empty.",
        },
      ],
    }),
  };
}

/** Declares what only production asks for: CloudFront's certificate and the DNS zone. */
export function declareEdgeVariables(scope: Construct) {
  return {
    cloudfrontCertificateArn: text(scope, "cloudfront_certificate_arn", {
      description: "ARN of CloudFront's certificate, issued by ACM in us-east-1 for domain_name and www.domain_name.",
      validations: [certificateRule("cloudfront_certificate_arn", "us-east-1", "CloudFront's")],
    }),
    cloudfrontPrefixListId: text(scope, "cloudfront_prefix_list_id", {
      description: "Managed prefix list of CloudFront's origin-facing addresses in this Region.",
      defaultValue: CLOUDFRONT_PREFIX_LIST_AP_NORTHEAST_2,
      validations: [
        {
          condition: 'can(regex("^pl-[0-9a-f]+$", var.cloudfront_prefix_list_id))',
          errorMessage: "cloudfront_prefix_list_id must be the id of a prefix list, such as pl-22a6434b.",
        },
      ],
    }),
    createHostedZone: flag(scope, "create_hosted_zone", {
      description: "Whether to make the hosted zone of domain_name; if not, hosted_zone_id names it.",
      defaultValue: false,
    }),
    hostedZoneId: text(scope, "hosted_zone_id", {
      description: "Existing hosted zone of domain_name; empty where create_hosted_zone is true.",
      defaultValue: "",
      validations: [
        {
          condition:
            '(var.create_hosted_zone && var.hosted_zone_id == "") || (!var.create_hosted_zone && can(regex("^Z[A-Z0-9]+$", var.hosted_zone_id)))',
          errorMessage:
            "hosted_zone_id must be the id of the existing zone (Z…), or empty with create_hosted_zone = true.",
        },
      ],
    }),
  };
}

/** Declares what only staging asks for: it has no CloudFront, so its load balancer admits addresses. */
export function declareStagingVariables(scope: Construct) {
  return {
    albAllowedCidrs: list(scope, "alb_allowed_cidrs", {
      description: "IPv4 blocks that may reach the load balancer on 443 and 80.",
      validations: [cidrListRule("alb_allowed_cidrs")],
    }),
  };
}

function text(
  scope: Construct,
  name: string,
  props: { description: string; defaultValue?: string; validations?: readonly Validation[] },
): string {
  return declare(scope, name, "string", props.description, props.defaultValue, props.validations).stringValue;
}

function list(
  scope: Construct,
  name: string,
  props: { description: string; defaultValue?: readonly string[]; validations?: readonly Validation[] },
): string[] {
  return declare(scope, name, "list(string)", props.description, props.defaultValue, props.validations).listValue;
}

function flag(scope: Construct, name: string, props: { description: string; defaultValue: boolean }) {
  return declare(scope, name, "bool", props.description, props.defaultValue).booleanValue;
}

function declare(
  scope: Construct,
  name: string,
  type: string,
  description: string,
  defaultValue?: string | boolean | readonly string[],
  validations: readonly Validation[] = [],
): TerraformVariable {
  return new TerraformVariable(scope, `variable.${name}`, {
    type,
    description,
    nullable: false,
    ...(defaultValue !== undefined && { default: defaultValue }),
    validation: validations.map(({ condition, errorMessage }) => ({ condition: `\${${condition}}`, errorMessage })),
  });
}

function accountIdRule(name: string): Validation {
  return {
    condition: `can(regex("^[0-9]{12}$", var.${name}))`,
    errorMessage: `${name} must be the twelve digits of an AWS account.`,
  };
}

function certificateRule(name: string, region: string, whose: string): Validation {
  return {
    condition: `can(regex("^arn:aws:acm:${region}:[0-9]{12}:certificate/", var.${name}))`,
    errorMessage: `${name} must be the ARN of an ACM certificate in ${region}: ${whose} certificate is read there and nowhere else.`,
  };
}

function cidrListRule(name: string): Validation {
  return {
    condition: `length(var.${name}) > 0 && alltrue([for block in var.${name} : can(cidrnetmask(block))])`,
    errorMessage: `${name} must list at least one IPv4 block such as 203.0.113.0/24.`,
  };
}
