/* Playback of one video whose frames hold every pane, so that the panes are always in step.
 *
 * A longer file of the same run is loaded while the present one plays, and replaces it at the same frame. The server
 * sends the time of every frame; no frame rate is assumed. */

const TOLERANCE_S = 1e-3; // media times are rounded to microseconds by browsers, to 90 kHz or milliseconds by containers

export class Playback {
  video = null;
  times = [];
  end = 0;
  index = -1; // of the frame on the screen
  wanted = null; // the index of the frame that a seek leads to, until it is there

  constructor(onframe, onchange) {
    this.onframe = onframe;
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

  /** Replace the file; the new one starts at the present frame. */
  load(url, times, end) {
    const next = document.createElement("video");
    Object.assign(next, { muted: true, playsInline: true, preload: "auto", src: url });
    this.next = next;
    next.addEventListener("loadeddata", () => {
      if (this.next !== next) return;
      const at = this.wanted ?? this.index; // which may have changed since the loading began
      const playing = this.playing;
      this.#unload();
      Object.assign(this, { video: next, next: null, times, end });
      this.#listen(next);
      this.seek(Math.max(0, Math.min(at, times.length - 1)));
      if (playing) this.play();
    });
    next.addEventListener("error", () => this.onchange(next.error?.message || "the browser cannot play this file"));
  }

  #unload() {
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
      if (!video.seeking) this.wanted = null;
      this.onframe();
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

  /** The index of the frame that is shown at a time. */
  at(seconds) {
    let low = 0;
    let high = this.times.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.times[middle] <= seconds + TOLERANCE_S) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Show a frame: seek to the middle of its time, where rounding cannot lead to its neighbour. */
  seek(index) {
    if (!this.video || !this.count) return;
    const target = Math.max(0, Math.min(this.count - 1, index));
    const until = this.times[target + 1] ?? Math.max(this.end, this.times[target] + 0.002);
    this.wanted = target;
    this.video.currentTime = (this.times[target] + until) / 2;
    this.onchange();
  }

  step(by) {
    this.pause();
    this.seek((this.wanted ?? this.index) + by);
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
      // another file replaced this one meanwhile
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
    this.#unload();
    Object.assign(this, { times: [], end: 0, index: -1, wanted: null });
  }
}
