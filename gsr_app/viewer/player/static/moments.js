/* The one clock. All panes lie in the frames of one video, so that whatever is shown belongs to one moment.
 *
 * A new file of the same run (more seconds of it) is loaded beside the one that plays and takes its place at the same
 * moment. Times are those of the pictures, told by the server; nothing is counted in frames per second. */

const LATE_S = 1e-3; // media times are rounded to microseconds by browsers, to 90 kHz or milliseconds by containers

export class Moments {
  video = null;
  times = [];
  end = 0;
  index = -1; // of the moment that is on the screen

  constructor(onshow, onchange) {
    this.onshow = onshow;
    this.onchange = onchange;
    this.speed = 1;
    this.loop = true;
  }

  get count() {
    return this.times.length;
  }

  get playing() {
    return Boolean(this.video && !this.video.paused && !this.video.ended);
  }

  /** Show this file from now on, at the moment at which the one before is. */
  load(url, times, end) {
    const at = this.index;
    const playing = this.playing;
    const next = document.createElement("video");
    Object.assign(next, { muted: true, playsInline: true, preload: "auto", src: url });
    this.next = next;
    next.addEventListener("loadeddata", () => {
      if (this.next !== next) return;
      this.#retire();
      Object.assign(this, { video: next, next: null, times, end });
      this.#listen(next);
      this.seek(Math.max(0, Math.min(at, times.length - 1)));
      if (playing) this.play();
    });
    next.addEventListener("error", () => this.onchange(next.error?.message || "the browser cannot play this file"));
  }

  #retire() {
    if (!this.video) return;
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
    this.video = null;
  }

  #listen(video) {
    const show = (seconds) => {
      if (video !== this.video) return;
      this.index = this.at(seconds);
      this.onshow();
    };
    if (video.requestVideoFrameCallback) {
      const next = (_, { mediaTime }) => {
        show(mediaTime);
        if (video === this.video) video.requestVideoFrameCallback(next);
      };
      video.requestVideoFrameCallback(next);
    } else {
      const tick = () => {
        if (video !== this.video) return;
        if (this.playing) show(video.currentTime);
        requestAnimationFrame(tick);
      };
      tick();
      video.addEventListener("seeked", () => show(video.currentTime));
    }
    for (const name of ["play", "pause", "seeked"]) video.addEventListener(name, () => this.onchange());
    video.addEventListener("ended", () => (this.loop ? this.restart() : this.onchange()));
  }

  /** The moment that is shown at a time. */
  at(seconds) {
    let low = 0;
    let high = this.times.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.times[middle] <= seconds + LATE_S) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Show a moment: into its middle, where no rounding leads to its neighbour. */
  seek(index) {
    if (!this.video || !this.count) return;
    const wanted = Math.max(0, Math.min(this.count - 1, index));
    const until = this.times[wanted + 1] ?? Math.max(this.end, this.times[wanted] + 0.002);
    this.video.currentTime = (this.times[wanted] + until) / 2;
    this.onchange();
  }

  step(by) {
    this.pause();
    this.seek(this.index + by);
  }

  async restart() {
    this.seek(0);
    await this.play();
  }

  async play() {
    if (!this.video) return;
    this.video.playbackRate = this.speed;
    try {
      await this.video.play();
    } catch {
      // another file took its place meanwhile
    }
    this.onchange();
  }

  pause() {
    this.video?.pause();
    this.onchange();
  }

  toggle() {
    if (this.playing) this.pause();
    else if (this.index >= this.count - 1) this.restart();
    else this.play();
  }

  setSpeed(speed) {
    this.speed = speed;
    if (this.video) this.video.playbackRate = speed;
  }

  clear() {
    this.next = null;
    this.#retire();
    Object.assign(this, { times: [], end: 0, index: -1 });
  }
}
