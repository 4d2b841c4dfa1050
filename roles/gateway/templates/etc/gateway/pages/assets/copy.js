// Gives each block of commands a button that copies it.
for (const block of document.querySelectorAll("pre")) {
  const button = document.createElement("button");
  button.className = "copy";
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(block.querySelector("code").textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  // Beside the block, not in it: the block scrolls.
  const frame = block.closest(".highlight") || block.parentElement;
  if (frame.classList.contains("highlight")) {
    frame.append(button);
  }
}
