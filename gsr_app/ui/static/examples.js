/* Thumbnails of the examples; a click triggers "pick". */

const strip = element.querySelector(".gsr-examples");
for (const { name, url } of props.thumbnails ?? []) {
  const button = document.createElement("button");
  button.type = "button";
  button.title = name;
  button.setAttribute("aria-label", `Example: ${name}`);
  button.style.backgroundImage = `url("${url}")`;
  button.addEventListener("click", () => trigger("pick", { name }));
  strip.append(button);
}
