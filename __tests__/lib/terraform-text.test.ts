import { describe, expect, it } from "vitest";
import { literal } from "../../lib/terraform-text";

describe("literal", () => {
  it.each([
    ["`${a}`", "`$${a}`"],
    ["%{ if x }", "%%{ if x }"],
    ["$${a}", "$$${a}"],
    ["$a 100% {b}", "$a 100% {b}"],
    ["", ""],
  ])("keeps Terraform from reading %j as a template", (text, escaped) => {
    expect(literal(text)).toBe(escaped);
  });
});
