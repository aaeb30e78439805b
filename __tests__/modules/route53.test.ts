import { TerraformOutput, TerraformVariable } from "cdktf";
import { describe, expect, it } from "vitest";
import { Route53, type Route53Props } from "../../modules/route53";
import { resourcesOf, synthModule, synthProblems, type TestStack } from "../support/synth";

function build(stack: TestStack, props: Partial<Route53Props> = {}): Route53 {
  return new Route53(stack, "route53", {
    domainName: "urr.guru",
    createHostedZone: true,
    cloudfrontDomainName: "d111111abcdef8.cloudfront.net",
    cloudfrontHostedZoneId: "Z2FDTNDATAQYW2",
    ...props,
  });
}

const synthesized = synthModule((stack) => {
  build(stack);
});

/** What a stack gets to put out as name servers. */
function nameServersOf(props: Partial<Route53Props>): unknown {
  const { flat } = synthModule((stack) => {
    new TerraformOutput(stack, "name_servers", { value: build(stack, props).nameServers });
  });
  return (flat.output as Record<string, { value: unknown }>).name_servers?.value;
}

describe("route53", () => {
  /** Infra analysis §2-8; AAAA because the distribution answers on IPv6. */
  it.each([
    ["apex_a", "urr.guru", "A"],
    ["apex_aaaa", "urr.guru", "AAAA"],
    ["www_a", "www.urr.guru", "A"],
    ["www_aaaa", "www.urr.guru", "AAAA"],
  ])("leads %s to the distribution", (id, name, type) => {
    expect(resourcesOf(synthesized, "aws_route53_record")[`route53_${id}`]).toMatchObject({
      name,
      type,
      zone_id: "${aws_route53_zone.route53_main.zone_id}",
      alias: { name: "d111111abcdef8.cloudfront.net", zone_id: "Z2FDTNDATAQYW2", evaluate_target_health: false },
    });
  });

  it("makes the zone, and says which name servers it has", () => {
    expect(resourcesOf(synthesized, "aws_route53_zone").route53_main).toMatchObject({ name: "urr.guru" });
    expect(resourcesOf(synthesized, "aws_route53_zone").route53_main).not.toHaveProperty("count");
    expect(nameServersOf({})).toBe("${aws_route53_zone.route53_main.name_servers}");
  });

  it("leaves www out where it is not wanted", () => {
    const apex = synthModule((stack) => {
      build(stack, { includeWww: false });
    });
    expect(Object.keys(resourcesOf(apex, "aws_route53_record"))).toEqual(["route53_apex_a", "route53_apex_aaaa"]);
  });

  it("uses an existing zone and makes none", () => {
    const existing = synthModule((stack) => {
      build(stack, { createHostedZone: false, hostedZoneId: "Z0123456789ABC" });
    });
    expect(nameServersOf({ createHostedZone: false, hostedZoneId: "Z0123456789ABC" })).toEqual([]);
    expect(resourcesOf(existing, "aws_route53_zone")).toEqual({});
    expect(Object.values(resourcesOf(existing, "aws_route53_record")).map(({ zone_id }) => zone_id)).toEqual(
      Array(4).fill("Z0123456789ABC"),
    );
  });

  it("decides by variables alone, which Terraform knows at plan", () => {
    const variable = synthModule((stack) => {
      build(stack, {
        createHostedZone: new TerraformVariable(stack, "create_hosted_zone", { type: "bool" }).booleanValue,
        hostedZoneId: new TerraformVariable(stack, "hosted_zone_id", { type: "string" }).stringValue,
      });
    });
    expect(resourcesOf(variable, "aws_route53_zone").route53_main?.count).toBe("${var.create_hosted_zone ? 1 : 0}");
    expect(resourcesOf(variable, "aws_route53_record").route53_apex_a?.zone_id).toMatch(
      /^\$\{var\.create_hosted_zone \? aws_route53_zone\.route53_main(\.0|\[0\])\.zone_id : var\.hosted_zone_id\}$/,
    );
    const records = Object.values(resourcesOf(variable, "aws_route53_record"));
    expect(records).toHaveLength(4);
    for (const record of records) {
      expect(record).not.toHaveProperty("count");
      expect(record).not.toHaveProperty("for_each");
    }
  });

  it.each([
    [{ domainName: "" }, 'domainName: given ""; allowed: a domain name in lower case'],
    [{ domainName: "urr.guru." }, "without a trailing dot"],
    [{ domainName: "guru" }, "domainName"],
    [{ createHostedZone: false }, 'hostedZoneId: given {"createHostedZone":false,"hostedZoneId":""}'],
    [{ createHostedZone: false, hostedZoneId: "urr.guru" }, "Give the existing zone's id"],
  ])("fails for %j", (props, message) => {
    expect(synthProblems((stack) => build(stack, props)).join("\n")).toContain(message);
  });
});
