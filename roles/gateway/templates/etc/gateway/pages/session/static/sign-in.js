// Sends name and password in a header of one request: unlike the browser's own dialog, this leaves no password behind when people sign out.
const form = document.querySelector("form");
const message = document.querySelector(".message");
const button = form.querySelector("button");

// The path that was asked for, and nothing else: never another host.
function destination() {
  const to = location.search.startsWith("?to=") ? location.search.slice(4) : "/";
  return /^\/(?![/\\]|session\/)[^\\\s]*$/.test(to) ? to + location.hash : "/";
}

function header(name, password) {
  const bytes = new TextEncoder().encode(`${name}:${password}`);
  return "Basic " + btoa(String.fromCharCode(...bytes));
}

const WORDS = {
  403: "The name or the password is wrong.",
  429: "Too many attempts. Wait a minute, then try again.",
};

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  message.textContent = "";
  try {
    const answer = await fetch("/session/sign-in", {
      headers: { Authorization: header(form.elements.name.value, form.elements.password.value) },
      redirect: "manual",
      cache: "no-store",
    });
    if (answer.type === "opaqueredirect") {
      location.replace(destination());
      return;
    }
    message.textContent = WORDS[answer.status] || `The gateway answers ${answer.status}.`;
  } catch {
    message.textContent = "The gateway does not answer. Is the network there?";
  }
  button.disabled = false;
  form.elements.password.select();
});
