/* Opens and closes the rail as a sheet. It closes when a run starts, at a press outside, and by Escape. */

const button = element.querySelector(".gsr-sheetbutton");
const rail = element.closest("[id$=rail]");

function setOpen(isOpen) {
  rail.classList.toggle("is-open", isOpen);
  button.setAttribute("aria-expanded", String(isOpen));
  button.textContent = isOpen ? "Done" : "Settings";
}

const isOpen = () => rail.classList.contains("is-open");
button.addEventListener("click", () => setOpen(!isOpen()));
rail.addEventListener("click", (event) => event.target.closest("button.primary") && setOpen(false));
document.addEventListener("pointerdown", (event) => isOpen() && !rail.contains(event.target) && !event.target.closest("dialog, .options") && setOpen(false));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !isOpen()) return;
  setOpen(false);
  button.focus();
});
