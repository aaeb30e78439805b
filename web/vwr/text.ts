/** Languages of the waiting page. */
export type Language = "ko" | "en";

/** Every sentence that a visitor reads or hears. */
export interface Texts {
  readonly title: string;
  readonly lead: string;
  readonly early: string;
  readonly earlyLead: string;
  readonly opensLabel: string;
  opensIn(seconds: number): string;
  readonly drawing: string;
  readonly joining: string;
  readonly joiningLead: string;
  readonly positionLabel: string;
  position(position: number): string;
  ahead(count: number): string;
  readonly nextUp: string;
  readonly waitLabel: string;
  wait(seconds: number): string;
  readonly waitUnknown: string;
  readonly keepOpen: string;
  readonly automatic: string;
  readonly paused: string;
  readonly busy: string;
  readonly busyFirst: string;
  readonly offline: string;
  readonly unreachable: string;
  readonly renewed: string;
  readonly expired: string;
  readonly admitted: string;
  readonly admittedLead: string;
  readonly continueNow: string;
  readonly leave: string;
  readonly leaveTitle: string;
  readonly leaveLead: string;
  readonly stay: string;
  readonly left: string;
  readonly leftLead: string;
  readonly again: string;
  readonly home: string;
  readonly unknownEvent: string;
  readonly unknownEventLead: string;
  readonly cookies: string;
  readonly cookiesLead: string;
  readonly looping: string;
  readonly loopingLead: string;
  readonly badAddress: string;
  readonly badAddressLead: string;
  readonly progress: string;
  readonly otherLanguage: string;
  announce(position: number, ahead: number, seconds: number | null): string;
}

const ko: Texts = {
  title: "접속 대기 중",
  lead: "현재 접속자가 많아 순서대로 안내하고 있습니다",
  early: "예매 시작 전입니다",
  earlyLead:
    "시작 전에 들어오신 분들의 순번은 예매가 시작될 때 추첨으로 정해집니다. 일찍 오셔도, 새로고침하셔도 순번은 달라지지 않습니다.",
  opensLabel: "예매 시작까지",
  opensIn: (seconds) => `약 ${koreanDuration(seconds)}`,
  drawing: "순번을 추첨하고 있습니다",
  joining: "대기 순번을 받고 있습니다",
  joiningLead: "잠시만 기다려 주세요",
  positionLabel: "현재 대기 순번",
  position: (position) => `${number("ko", position)}번`,
  ahead: (count) => `내 앞 ${number("ko", count)}명`,
  nextUp: "곧 입장합니다",
  waitLabel: "예상 대기",
  wait: (seconds) => `약 ${koreanDuration(seconds)}`,
  waitUnknown: "잠시 멈춤",
  keepOpen: "이 창을 닫지 마세요.",
  automatic: "순서가 되면 자동으로 이동합니다.",
  paused: "입장이 잠시 멈췄습니다. 순번은 그대로 유지됩니다.",
  busy: "접속이 몰려 응답이 늦어지고 있습니다. 순번은 그대로 유지되며 자동으로 다시 확인합니다.",
  busyFirst: "접속이 몰려 순번을 받는 데 시간이 걸리고 있습니다. 새로고침하지 않아도 자동으로 다시 시도합니다.",
  offline: "인터넷 연결이 끊겼습니다. 연결되면 자동으로 다시 확인합니다. 순번은 그대로 유지됩니다.",
  unreachable: "서버와 연결하지 못했습니다. 자동으로 다시 시도합니다.",
  renewed: "대기열이 새로 시작되어 새 순번을 받았습니다.",
  expired: "입장 시간이 지나 새 순번을 받았습니다.",
  admitted: "입장합니다",
  admittedLead: "요청하신 페이지로 이동하고 있습니다",
  continueNow: "지금 이동하기",
  leave: "대기열 나가기",
  leaveTitle: "대기열에서 나갈까요?",
  leaveLead: "지금 나가면 대기 순번이 사라지고, 다시 들어오면 맨 뒤에서 시작합니다.",
  stay: "계속 기다리기",
  left: "대기열에서 나왔습니다",
  leftLead: "다시 예매하려면 새 순번을 받아야 합니다.",
  again: "다시 대기하기",
  home: "홈으로 가기",
  unknownEvent: "대기열이 없는 공연입니다",
  unknownEventLead: "기다리지 않고 이용할 수 있습니다. 주소가 정확한지도 확인해 주세요.",
  cookies: "쿠키를 허용해 주세요",
  cookiesLead: "입장 확인에 쿠키가 필요합니다. 브라우저 설정에서 이 사이트의 쿠키를 허용한 뒤 다시 시도해 주세요.",
  looping: "페이지를 열지 못했습니다",
  loopingLead: "입장은 허가되었지만 페이지가 다시 이곳으로 돌아옵니다. 잠시 후 아래 버튼으로 다시 시도해 주세요.",
  badAddress: "주소가 올바르지 않습니다",
  badAddressLead: "공연 페이지에서 ‘예매하기’를 눌러 다시 들어와 주세요.",
  progress: "대기 진행률",
  otherLanguage: "English",
  announce: (position, ahead, seconds) => {
    const wait =
      seconds === null ? "입장이 잠시 멈춘 상태입니다." : `예상 대기 시간은 약 ${koreanDuration(seconds)}입니다.`;
    return `대기 순번 ${number("ko", position)}번, 내 앞에 ${number("ko", ahead)}명이 있습니다. ${wait}`;
  },
};

const en: Texts = {
  title: "You are in line",
  lead: "Many people are here right now, so we are letting everyone in one by one",
  early: "The sale has not opened yet",
  earlyLead:
    "Everyone who comes before it opens is given a random number when it does. Coming earlier or reloading makes no difference.",
  opensLabel: "Opens in",
  opensIn: (seconds) => `about ${englishDuration(seconds)}`,
  drawing: "Numbers are being drawn",
  joining: "Getting your place in line",
  joiningLead: "Just a moment",
  positionLabel: "Your number",
  position: (position) => number("en", position),
  ahead: (count) => `${number("en", count)} ahead of you`,
  nextUp: "You are next",
  waitLabel: "Expected wait",
  wait: (seconds) => `about ${englishDuration(seconds)}`,
  waitUnknown: "on hold",
  keepOpen: "Please keep this window open.",
  automatic: "You will be taken in automatically when it is your turn.",
  paused: "Admission is on hold for the moment. You keep your place.",
  busy: "The site is very busy and answers slowly. You keep your place; we will check again by ourselves.",
  busyFirst: "The site is very busy, so getting a place takes a moment. No need to reload: we keep trying.",
  offline: "You are offline. We will check again once you are back; you keep your place.",
  unreachable: "The site cannot be reached right now. We keep trying.",
  renewed: "The line was started anew, so you have a new number.",
  expired: "Your admission has expired, so you have a new number.",
  admitted: "Come on in",
  admittedLead: "Taking you to the page you asked for",
  continueNow: "Continue now",
  leave: "Leave the line",
  leaveTitle: "Leave the line?",
  leaveLead: "You will lose your place. If you come back later, you start at the end.",
  stay: "Keep waiting",
  left: "You have left the line",
  leftLead: "To book after all, take a new number.",
  again: "Join again",
  home: "Go to the start page",
  unknownEvent: "There is no line for this event",
  unknownEventLead: "You can go on without waiting. Please also check that the address is right.",
  cookies: "Please allow cookies",
  cookiesLead: "A cookie shows that you were let in. Allow cookies for this site in your browser and try again.",
  looping: "The page did not open",
  loopingLead:
    "You were let in, but the page sends you back here. Wait a moment, then try again with the button below.",
  badAddress: "This address is not right",
  badAddressLead: "Please start again from the event's page and choose “Book”.",
  progress: "Progress in line",
  otherLanguage: "한국어",
  announce: (position, ahead, seconds) => {
    const wait = seconds === null ? "Admission is on hold." : `The expected wait is about ${englishDuration(seconds)}.`;
    return `Your number is ${number("en", position)}, with ${number("en", ahead)} ahead of you. ${wait}`;
  },
};

export const TEXTS: Readonly<Record<Language, Texts>> = { ko, en };

/** Korean unless the browser asks for something else: most visitors are in Korea. */
export function languageOf(preferred: readonly string[]): Language {
  const first = preferred[0]?.toLowerCase() ?? "ko";
  return first.startsWith("ko") ? "ko" : "en";
}

function number(language: Language, value: number): string {
  return new Intl.NumberFormat(language).format(value);
}

/** Seconds as far as anybody can plan with them: exact below a minute, then minutes, rounded up. */
function parts(seconds: number): { hours: number; minutes: number; seconds: number } {
  if (seconds < 60) {
    return { hours: 0, minutes: 0, seconds: Math.max(1, Math.ceil(seconds)) };
  }
  const minutes = Math.ceil(seconds / 60);
  return { hours: Math.floor(minutes / 60), minutes: minutes % 60, seconds: 0 };
}

function koreanDuration(total: number): string {
  const { hours, minutes, seconds } = parts(total);
  const words = [hours > 0 && `${hours}시간`, minutes > 0 && `${minutes}분`, seconds > 0 && `${seconds}초`];
  return words.filter(Boolean).join(" ");
}

function englishDuration(total: number): string {
  const { hours, minutes, seconds } = parts(total);
  const words = [
    [hours, "hour"],
    [minutes, "minute"],
    [seconds, "second"],
  ] as const;
  return words
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}${value === 1 ? "" : "s"}`)
    .join(" ");
}
