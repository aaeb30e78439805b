/**
 * Text as it is: `${` and `%{` start templates in Terraform's strings, and code and pages may hold both.
 */
export function literal(text: string): string {
  return text.replaceAll("${", () => "$${").replaceAll("%{", () => "%%{");
}
