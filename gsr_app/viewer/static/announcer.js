/* Tells the start, the progress and the end of a run to those who do not see it. */

import { el } from "./dom.js";
import { seconds, totalMs } from "./format.js";

const ENDINGS = { done: "finished", failed: "failed", cancelled: "stopped" };

export class Announcer {
  constructor() {
    this.node = el("div", { className: "gsr-announcer", role: "status", "aria-live": "polite" });
  }

  /** What has changed between two scenes, if it is worth a sentence. */
  tell(before, scene) {
    const methods = scene.panes.filter((spec) => spec.kind === "method");
    if (scene.running && scene.run !== before.run) {
      this.node.textContent = `Started: ${methods.map((spec) => spec.name).join(", ")}.`;
      return;
    }
    if (scene.run !== before.run) return;
    const states = new Map(before.panes.map((spec) => [spec.id, spec.state]));
    const ended = methods.filter((spec) => ENDINGS[spec.state] && states.get(spec.id) !== spec.state);
    if (!ended.length) return;
    const over = methods.filter((spec) => ENDINGS[spec.state]).length;
    const sentences = ended.map((spec) => `${spec.name} ${ENDINGS[spec.state]}${spec.state === "done" && spec.timing ? ` after ${seconds(totalMs(spec) / 1000)}` : ""}.`);
    this.node.textContent = `${sentences.join(" ")} ${over === methods.length ? "All are over." : `${over} of ${methods.length}.`}`;
  }
}
