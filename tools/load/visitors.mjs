// The crowd, in a process of its own so that it does not share a thread with the edge. Plain JavaScript: it is forked without a
// loader. Each visitor behaves as the page does: takes a place, polls when told to, tries again when turned away.
import http from "node:http";

process.once("message", async (options) => {
  try {
    process.send({ kind: "result", ...(await crowd(options)) });
  } catch (error) {
    process.send({ kind: "error", message: String(error?.stack ?? error) });
  }
});
process.on("disconnect", () => process.exit(0));

async function crowd({ url, event, visitors, arrivalMs, sockets, maxSeconds, bookings }) {
  // Those who poll have connections of their own: they do not stand in line behind those who have yet to click.
  const clicks = new http.Agent({ keepAlive: true, maxSockets: sockets });
  const polls = new http.Agent({ keepAlive: true, maxSockets: sockets });
  const base = new URL(url);
  const startedAt = performance.now();
  const deadline = startedAt + maxSeconds * 1000;
  const assigns = [];
  const checks = [];
  const people = [];
  const turnedAway = {};
  let booked = 0;
  let arrived = 0;

  const ask = (method, path, headers, body) =>
    new Promise((resolve, reject) => {
      let sentAt = performance.now();
      const agent = path.includes("/assign/") ? clicks : polls;
      const request = http.request({ host: "127.0.0.1", port: base.port, agent, method, path, headers }, (answer) => {
        const chunks = [];
        answer.on("data", (chunk) => chunks.push(chunk));
        answer.on("end", () => {
          const { headers: answered, statusCode: status } = answer;
          resolve({ status, headers: answered, body: Buffer.concat(chunks).toString(), sentAt });
        });
      });
      // The moment the click leaves for the edge: before it, it waits for one of this machine's sockets.
      request.once("socket", () => {
        sentAt = performance.now();
      });
      request.on("error", reject);
      request.end(body);
    });

  const timed = async (latencies, ...request) => {
    const answer = await ask(...request);
    latencies.push(performance.now() - answer.sentAt);
    return answer;
  };

  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  const persist = async (latencies, ...request) => {
    for (;;) {
      const answer = await timed(latencies, ...request);
      if (answer.status === 200) return { ...JSON.parse(answer.body), sentAt: answer.sentAt };
      if (![429, 502, 503, 504].includes(answer.status))
        throw new Error(`${request[1]} answered ${answer.status}: ${answer.body}`);
      turnedAway[answer.status] = (turnedAway[answer.status] ?? 0) + 1;
      if (performance.now() > deadline) throw new Error(`still ${answer.status} after ${maxSeconds} s: ${answer.body}`);
      const told = Number(answer.headers["retry-after"] ?? 2);
      await wait(told * 1000 * (1 + Math.random() * 0.5));
    }
  };

  const visit = async (number) => {
    await wait((number / visitors) * arrivalMs);
    const requestId = `load-${String(number).padStart(12, "0")}`;
    const headers = { "content-type": "application/json" };
    let place = await persist(assigns, "POST", `/vwr-api/vwr/assign/${event}`, headers, JSON.stringify({ requestId }));
    const person = { sentAt: place.sentAt - startedAt, position: place.position, polls: 0 };
    people.push(person);
    arrived += 1;
    if (arrived === visitors) process.send({ kind: "arrived", ms: performance.now() - startedAt });
    while (!place.admitted) {
      if (performance.now() > deadline) throw new Error(`${requestId} is still in line after ${maxSeconds} s`);
      await wait(place.nextPoll * 1000 * (0.85 + Math.random() * 0.3));
      person.polls += 1;
      const path = `/vwr-api/vwr/check/${event}/${requestId}`;
      place = await persist(checks, "GET", path, { "x-vwr-ticket": place.ticket });
    }
    person.admittedMs = performance.now() - startedAt;
    person.servingCounter = place.servingCounter;
    if (number < bookings) await book(place.token);
  };

  // One after the other: the edge has its own environments to start.
  let booking = Promise.resolve();
  const book = (token) => {
    booking = booking.then(async () => {
      const { token: entry } = await persist([], "POST", `/api/v1/queue/${event}`, {}, "");
      await persist([], "GET", `/api/v1/seats/${event}`, {
        cookie: `urr-vwr-token=${token}; urr-entry-token=${entry}`,
      });
      booked += 1;
    });
    return booking;
  };

  await Promise.all(Array.from({ length: visitors }, (_, number) => visit(number)));
  clicks.destroy();
  polls.destroy();
  return { people, assigns, checks, turnedAway, booked };
}
