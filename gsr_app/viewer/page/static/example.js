/* A small picture to try the page with: type, curves, fine lines and a gradient. */

const [WIDTH, HEIGHT] = [224, 160];

export async function drawExample() {
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  const ctx = canvas.getContext("2d", { alpha: false });
  const sky = ctx.createLinearGradient(0, 0, 0, HEIGHT);
  for (const [at, colour] of [[0, "#f4d9b0"], [0.55, "#d98f6a"], [1, "#274b57"]]) sky.addColorStop(at, colour);
  ctx.fillStyle = sky;
  ctx.fillRect(0, 0, WIDTH, HEIGHT);
  ctx.fillStyle = "#fff4dc";
  ctx.beginPath();
  ctx.arc(164, 52, 26, 0, 7);
  ctx.fill();
  ctx.fillStyle = "#1d3a44";
  ctx.beginPath();
  ctx.moveTo(0, 118);
  for (let x = 0; x <= WIDTH; x += 4) ctx.lineTo(x, 112 + 14 * Math.sin(x / 21) + 6 * Math.sin(x / 7));
  ctx.lineTo(WIDTH, HEIGHT);
  ctx.lineTo(0, HEIGHT);
  ctx.fill();
  ctx.strokeStyle = "#12262d";
  ctx.lineWidth = 0.8;
  for (let k = 0; k < 9; k++) {
    ctx.beginPath();
    ctx.moveTo(120 + 11 * k, HEIGHT);
    ctx.quadraticCurveTo(124 + 9 * k, 110, 132 + 6 * k, 84 + 2 * k);
    ctx.stroke();
  }
  ctx.fillStyle = "#2a1d16";
  ctx.font = "700 24px Georgia, 'Liberation Serif', serif";
  ctx.fillText("Gaussians", 14, 44);
  ctx.font = "11px Georgia, 'Liberation Serif', serif";
  ctx.fillText("drawn at any size", 16, 62);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
