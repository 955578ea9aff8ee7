// Moments in the viewer's zone; the server writes UTC, which stays in the title. `ago` has the words of formats.py.

const two = (number) => String(number).padStart(2, "0");
const dayOf = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
const minuteOf = (at) => `${two(at.getHours())}:${two(at.getMinutes())}`;

const STEPS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];
const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

function ago(at) {
  const seconds = (at - Date.now()) / 1000;
  const step = STEPS.find(([, length]) => Math.abs(seconds) >= length);
  if (!step) return Math.abs(seconds) < 5 ? "now" : words.format(Math.round(seconds), "second");
  return step[0] === "day" && Math.abs(seconds) >= 30 * 86400 ? dayOf(at) : words.format(Math.sign(seconds) * Math.round(Math.abs(seconds) / step[1]), step[0]);
}

const FORMS = {
  moment: (at) => `${dayOf(at)} ${minuteOf(at)}`,
  exact: (at) => `${dayOf(at)} ${minuteOf(at)}:${two(at.getSeconds())}`,
  short: (at) => `${dayOf(at).slice(5)} ${minuteOf(at)}:${two(at.getSeconds())}`,
  date: dayOf,
  time: (at) => `${minuteOf(at)}:${two(at.getSeconds())}`,
  ago,
};

export function formatTime(iso, form = "moment") {
  const at = new Date(iso);
  return Number.isNaN(at.getTime()) ? iso : FORMS[form](at);
}

export function showTimes(root) {
  for (const element of root.querySelectorAll("time[data-form]")) {
    const { dateTime, dataset } = element;
    if (dateTime.includes("T") || dateTime.includes(" ")) element.textContent = formatTime(dateTime, dataset.form);
  }
}

export function startTimes() {
  setInterval(() => {
    for (const element of document.querySelectorAll('time[data-form="ago"]')) {
      element.textContent = formatTime(element.dateTime, "ago");
    }
  }, 30000);
}
