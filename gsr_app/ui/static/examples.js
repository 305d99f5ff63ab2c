/* Thumbnails of the examples; a click triggers "pick". `props.value` is the name of the last one that was clicked, so that
 * an answer to a click before it is followed by one to this. */

const strip = element.querySelector(".gsr-examples");
for (const { name, url } of props.thumbnails ?? []) {
  const button = document.createElement("button");
  button.type = "button";
  button.title = name;
  button.setAttribute("aria-label", `Example: ${name}`);
  button.style.backgroundImage = `url("${url}")`;
  button.addEventListener("click", () => {
    props.value = name;
    trigger("pick");
  });
  strip.append(button);
}
