/** An IPv4 block: its first address as an unsigned 32-bit number, and the length of its prefix in bits. */
export interface Cidr {
  readonly address: number;
  readonly prefixLength: number;
}

const DOTTED_QUAD = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/;

/** Reads `10.0.0.0/16`. Throws with the reason if it is malformed or has bits set behind the prefix. */
export function parseCidr(text: string): Cidr {
  const match = DOTTED_QUAD.exec(text);
  const octets = match?.slice(1, 5).map(Number) ?? [];
  const prefixLength = Number(match?.[5]);
  if (!match || octets.some((octet) => octet > 255) || prefixLength > 32) {
    throw new Error(`${JSON.stringify(text)} is not an IPv4 CIDR block such as "10.0.0.0/16"`);
  }
  const address = octets.reduce((sum, octet) => sum * 256 + octet, 0);
  if (address % blockSize(prefixLength) !== 0) {
    throw new Error(
      `${JSON.stringify(text)} has bits set behind /${prefixLength}; the block starts at ${formatCidr({ address: address - (address % blockSize(prefixLength)), prefixLength })}`,
    );
  }
  return { address, prefixLength };
}

/** `10.0.0.0/16`. */
export function formatCidr({ address, prefixLength }: Cidr): string {
  const octets = [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256);
  return `${octets.join(".")}/${prefixLength}`;
}

/**
 * The `index`th block of `prefixLength` bits within `block`, as Terraform's `cidrsubnet(block, prefixLength - own, index)`.
 * Throws if it lies outside.
 */
export function subnet(block: string, prefixLength: number, index: number): string {
  const parent = parseCidr(block);
  const capacity = 2 ** (prefixLength - parent.prefixLength);
  if (
    prefixLength < parent.prefixLength ||
    prefixLength > 32 ||
    !Number.isInteger(index) ||
    index < 0 ||
    index >= capacity
  ) {
    throw new Error(
      `block ${index} of /${prefixLength} does not lie in ${block}, which holds ${Math.max(0, Math.floor(capacity))} of them`,
    );
  }
  return formatCidr({ address: parent.address + index * blockSize(prefixLength), prefixLength });
}

/** Whether two blocks share an address. */
export function overlaps(left: string, right: string): boolean {
  const [a, b] = [parseCidr(left), parseCidr(right)];
  return a.address < b.address + blockSize(b.prefixLength) && b.address < a.address + blockSize(a.prefixLength);
}

/** Whether `inner` lies wholly in `outer`. */
export function contains(outer: string, inner: string): boolean {
  const [a, b] = [parseCidr(outer), parseCidr(inner)];
  return b.address >= a.address && b.address + blockSize(b.prefixLength) <= a.address + blockSize(a.prefixLength);
}

function blockSize(prefixLength: number): number {
  return 2 ** (32 - prefixLength);
}
