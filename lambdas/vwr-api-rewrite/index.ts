/** The parts of a CloudFront Functions viewer-request event that path rewriting needs. */
interface ViewerRequestEvent {
  request: { uri: string };
}

/**
 * `/vwr-api/vwr/assign/evt-1` reaches API Gateway as `/vwr/assign/evt-1`: its routes know nothing of the prefix that
 * CloudFront's behaviour needs (Infra analysis §2-7).
 */
export function handler(event: ViewerRequestEvent): ViewerRequestEvent["request"] {
  const request = event.request;
  if (request.uri === "/vwr-api" || request.uri.indexOf("/vwr-api/") === 0) {
    request.uri = request.uri.substring("/vwr-api".length) || "/";
  }
  return request;
}
