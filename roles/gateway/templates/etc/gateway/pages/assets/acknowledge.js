// Makes the silence that acknowledges an alert: on its `incident` and the labels of the address, so that page and ladder are silenced as one.
const form = document.querySelector("form");
const message = document.querySelector(".message");
const button = document.querySelector("button");
const labels = [...new URLSearchParams(location.search)].filter(([name]) => /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name));
let user = "";

function say(text) {
  message.textContent = text;
}

async function begin() {
  const incident = labels.find(([name]) => name === "incident");
  if (!incident || !incident[1]) {
    say("The address names no incident. Open the link of a message once more.");
    return;
  }
  document.getElementById("what").textContent = labels.map(([name, value]) => `${name}=${value}`).join(", ");
  const answer = await fetch("/session/user", { headers: { Accept: "application/json" }, cache: "no-store" });
  const session = answer.ok ? await answer.json() : {};
  user = session.user || "";
  if (session.role === "viewer") {
    say("Viewers cannot acknowledge. Ask an editor.");
    return;
  }
  button.disabled = false;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  say("");
  const now = Date.now();
  const seconds = Number(document.getElementById("duration").value);
  const silence = {
    matchers: labels.map(([name, value]) => ({ name, value, isRegex: false, isEqual: true })),
    startsAt: new Date(now).toISOString(),
    endsAt: new Date(now + seconds * 1000).toISOString(),
    createdBy: user || "unknown",
    comment: `acknowledged: ${document.getElementById("comment").value}`,
  };
  try {
    const answer = await fetch("/alertmanager/api/v2/silences", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(silence),
    });
    if (!answer.ok) {
      throw new Error(answer.status === 403 ? "your role does not allow it" : `status ${answer.status}`);
    }
    form.hidden = true;
    document.querySelector("h1").textContent = "Acknowledged";
    document.getElementById("what").textContent += ` until ${new Date(now + seconds * 1000).toLocaleString()}`;
  } catch (error) {
    say(`Not acknowledged: ${error.message}.`);
    button.disabled = false;
  }
});

begin().catch(() => say("The platform does not answer."));
