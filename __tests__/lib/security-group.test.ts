import { describe, expect, it } from "vitest";
import { INTERNET, SecurityGroup, tcp } from "../../lib/security-group";
import { resourcesOf, synthModule, synthProblems, type TestStack } from "../support/synth";

function group(stack: TestStack, id: string, description = "A group"): SecurityGroup {
  return new SecurityGroup(stack, id, { name: `urr-${id}`, description, vpcId: "vpc-1", label: id });
}

/** Problems of a rule with this description. */
function problemsOf(description: string): readonly string[] {
  return synthProblems((stack) => group(stack, "web").allowFrom(INTERNET, tcp(443), description));
}

describe("a connection", () => {
  const synthesized = synthModule((stack) => {
    const [client, server] = [group(stack, "client"), group(stack, "server")];
    server.allowFrom(client, tcp(5432), "Client to server");
    server.allowFrom(server, tcp(9000), "Servers among each other");
  });
  const peers = (type: string) =>
    Object.fromEntries(
      Object.entries(resourcesOf(synthesized, type)).map(([name, rule]) => [
        name,
        [rule.security_group_id, rule.referenced_security_group_id, rule.from_port, rule.to_port],
      ]),
    );
  const [client, server] = ["${aws_security_group.client.id}", "${aws_security_group.server.id}"];

  it("is let in on one side and let out on the other", () => {
    expect(peers("aws_vpc_security_group_ingress_rule")).toEqual({
      server_from_client_5432: [server, client, 5432, 5432],
      server_from_self_9000: [server, server, 9000, 9000],
    });
    expect(peers("aws_vpc_security_group_egress_rule")).toEqual({
      client_to_server_5432: [client, server, 5432, 5432],
      server_to_self_9000: [server, server, 9000, 9000],
    });
  });
});

describe("a description", () => {
  it.each(["HTTPS from CloudFront", "a-z_.:/()#,@[]+=&;{}!$*", "x".repeat(255)])("may be %j", (description) => {
    expect(problemsOf(description)).toEqual([]);
  });

  it.each([
    "ticket-service's API",
    'the "web"',
    "a > b",
    "서비스",
    "",
    "x".repeat(256),
  ])("fails for %j, which EC2 refuses at apply", (description) => {
    expect(problemsOf(description).join()).toContain("description in security group urr-web: given ");
  });

  it("fails on the group itself, too", () => {
    expect(synthProblems((stack) => group(stack, "web", "CloudFront's peers"))).toHaveLength(1);
  });
});

describe("a group's rules", () => {
  const open = (count: number) =>
    synthProblems((stack) => {
      const web = group(stack, "web");
      for (let port = 1; port <= count; port += 1) web.allowFrom(INTERNET, tcp(port), "A port");
    });

  it("may be sixty per direction", () => expect(open(60)).toEqual([]));

  it("fails for one more", () => {
    expect(open(61).join()).toContain("inbound rules of security group urr-web: given 61; allowed: at most 60");
  });
});
