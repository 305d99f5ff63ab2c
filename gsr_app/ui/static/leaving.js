/* Who leaves during a run is asked whether to. What runs says so by preventing the event "gsr-leaving".
 *
 * Runs before Gradio's scripts: its own listener, which comes after this one then, ends all streams, also those of a
 * visitor who stays. */

addEventListener("beforeunload", (event) => {
  if (document.dispatchEvent(new Event("gsr-leaving", { cancelable: true }))) return;
  event.preventDefault();
  event.stopImmediatePropagation();
});
