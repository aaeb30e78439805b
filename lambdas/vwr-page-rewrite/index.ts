/** The parts of a CloudFront Functions viewer-request event that path rewriting needs. */
interface ViewerRequestEvent {
  request: { uri: string };
}

/**
 * `/vwr/evt-1` shows the waiting page: the bucket holds one page for all events, which reads the event from its own address
 * (Architecture guide §4.3). Files of the page itself, which have an extension, keep their path; event ids have no dot.
 */
export function handler(event: ViewerRequestEvent): ViewerRequestEvent["request"] {
  const request = event.request;
  if (/^\/vwr(\/[^/.]*)?\/?$/.test(request.uri)) {
    request.uri = "/vwr/index.html";
  }
  return request;
}
