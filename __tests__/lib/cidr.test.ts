import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { contains, formatCidr, overlaps, parseCidr, subnet } from "../../lib/cidr";

/** A block that starts on its own boundary. */
const block = fc
  .record({ prefixLength: fc.integer({ min: 0, max: 32 }), seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }) })
  .map(({ prefixLength, seed }) => ({ prefixLength, address: seed - (seed % 2 ** (32 - prefixLength)) }));

/** Addresses of a block, by brute force over its two ends: what the arithmetic is checked against. */
function ends({ address, prefixLength }: { address: number; prefixLength: number }): [number, number] {
  return [address, address + 2 ** (32 - prefixLength) - 1];
}

describe("CIDR arithmetic", () => {
  it("reads back what it writes", () => {
    fc.assert(
      fc.property(block, (cidr) => {
        expect(parseCidr(formatCidr(cidr))).toEqual(cidr);
      }),
    );
  });

  it("cuts a block into subnets that lie in it, in order, without gap or overlap", () => {
    fc.assert(
      fc.property(block, fc.integer({ min: 1, max: 6 }), (cidr, bits) => {
        fc.pre(cidr.prefixLength + bits <= 32);
        const parent = formatCidr(cidr);
        const parts = Array.from({ length: 2 ** bits }, (_, index) =>
          parseCidr(subnet(parent, cidr.prefixLength + bits, index)),
        );
        let next = cidr.address;
        for (const part of parts) {
          expect(part.address).toBe(next);
          next = ends(part)[1] + 1;
        }
        expect(next).toBe(ends(cidr)[1] + 1);
      }),
    );
  });

  it("finds overlap and containment exactly where the address ranges say so", () => {
    fc.assert(
      fc.property(block, block, (left, right) => {
        const [a, b] = [ends(left), ends(right)];
        expect(overlaps(formatCidr(left), formatCidr(right))).toBe(a[0] <= b[1] && b[0] <= a[1]);
        expect(contains(formatCidr(left), formatCidr(right))).toBe(a[0] <= b[0] && b[1] <= a[1]);
      }),
    );
  });

  it("numbers the documented subnets: 10.0.0.0/16, /24, block 41 is 10.0.41.0/24", () => {
    expect(subnet("10.0.0.0/16", 24, 41)).toBe("10.0.41.0/24");
  });

  it.each([
    ["10.0.0.0", "is not an IPv4 CIDR block"],
    ["10.0.0.256/16", "is not an IPv4 CIDR block"],
    ["10.0.0.0/33", "is not an IPv4 CIDR block"],
    ["10.0.0/16", "is not an IPv4 CIDR block"],
    ["fd00::/8", "is not an IPv4 CIDR block"],
    ["", "is not an IPv4 CIDR block"],
    ["10.0.1.0/16", "the block starts at 10.0.0.0/16"],
  ])("fails on %j: %s", (text, message) => {
    expect(() => parseCidr(text)).toThrow(message);
  });

  it.each([
    ["10.0.0.0/16", 24, 256],
    ["10.0.0.0/16", 24, -1],
    ["10.0.0.0/16", 24, 0.5],
    ["10.0.0.0/24", 16, 0],
    ["10.0.0.0/24", 33, 0],
  ])("fails to take a subnet that does not lie in the block: %s /%d number %d", (parent, prefixLength, index) => {
    expect(() => subnet(parent, prefixLength, index)).toThrow(`does not lie in ${parent}`);
  });
});
