// Fills the start page: which products answer, by Prometheus, and what fires, by Alertmanager. Without it the page is a list of links.
const REFRESH_MS = 30000;
const SHOWN_ALERTS = 6;
const RANK = { critical: 0, warning: 1, info: 2 };

async function json(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store" });
  if (answer.status === 401) {
    location.assign("/session/sign-in");
  }
  if (!answer.ok) {
    throw new Error(String(answer.status));
  }
  return answer.json();
}

function chip(element, kind, text) {
  element.className = `chip ${kind}`;
  element.textContent = text;
}

function words(up, down) {
  if (up + down === 0) {
    return ["", "not watched"];
  }
  if (down === 0) {
    return ["good", up === 1 ? "up" : `${up} up`];
  }
  return ["bad", up === 0 ? (down === 1 ? "down" : `all ${down} down`) : `${down} of ${up + down} down`];
}

async function states() {
  const places = document.querySelectorAll("[data-job]");
  try {
    const query = encodeURIComponent('count_values by (job) ("up", up)');
    const { data } = await json(`/prometheus/api/v1/query?query=${query}`);
    const counts = {};
    for (const { metric, value } of data.result) {
      counts[metric.job] ??= { 0: 0, 1: 0 };
      counts[metric.job][metric.up] = Number(value[1]);
    }
    for (const place of places) {
      const found = counts[place.dataset.job] || { 0: 0, 1: 0 };
      chip(place, ...words(found[1], found[0]));
    }
  } catch {
    for (const place of places) {
      chip(place, "", place.dataset.job === "prometheus" ? "no answer" : "unknown");
    }
  }
}

function since(start) {
  const minutes = Math.max(0, Math.round((Date.now() - Date.parse(start)) / 60000));
  if (minutes < 60) {
    return `${minutes} min`;
  }
  return minutes < 2880 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} days`;
}

function entry(alert) {
  const item = document.createElement("li");
  const kind = document.createElement("span");
  chip(kind, alert.labels.severity, alert.labels.severity);
  const name = document.createElement("strong");
  name.textContent = alert.labels.alertname;
  item.append(kind, " ", name, " ", alert.annotations.summary || "");
  const time = document.createElement("span");
  time.className = "since";
  time.textContent = ` for ${since(alert.startsAt)} `;
  item.append(time);
  const runbook = alert.annotations.runbook_url || "";
  if (/^https?:\/\//.test(runbook)) {
    const link = document.createElement("a");
    link.href = runbook;
    link.textContent = "What to do";
    item.append(link);
  }
  return item;
}

async function alerts() {
  const card = document.querySelector("#alerts");
  if (!card) {
    return;
  }
  const [title, list, more] = [card.querySelector("[data-title]"), card.querySelector("ul"), card.querySelector("[data-more]")];
  try {
    const found = (await json("/alertmanager/api/v2/alerts?active=true&silenced=false&inhibited=false"))
      .filter((alert) => alert.labels.severity in RANK)
      .sort((a, b) => RANK[a.labels.severity] - RANK[b.labels.severity] || Date.parse(b.startsAt) - Date.parse(a.startsAt));
    const serious = found.filter((alert) => alert.labels.severity !== "info");
    const worst = serious.length ? (serious[0].labels.severity === "critical" ? "bad" : "warn") : "good";
    card.className = `card alerts ${worst}`;
    title.textContent = serious.length ? `${serious.length} ${serious.length === 1 ? "alert fires" : "alerts fire"}` : "No alert fires";
    list.replaceChildren(...found.slice(0, SHOWN_ALERTS).map(entry));
    more.textContent = found.length > SHOWN_ALERTS ? `All ${found.length} alerts` : "Alertmanager";
  } catch {
    card.className = "card alerts";
    title.textContent = "Alertmanager does not answer";
    list.replaceChildren();
  }
  card.hidden = false;
}

function refresh() {
  states();
  alerts();
}

refresh();
setInterval(() => document.hidden || refresh(), REFRESH_MS);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
